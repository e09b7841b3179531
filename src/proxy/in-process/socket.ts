/** The socket that a handler in this process sees. */
import { Duplex } from "node:stream";

/** The other end of the connection. */
export interface SocketPeer {
  /** The reader has taken what was pushed. */
  onRoom(): void;
  /** The server wrote. The view is valid only during the call; false = it must wait for `resume`. */
  onBytes(view: Buffer): boolean;
  /** The server ended its side. */
  onFinished(): void;
  /** The socket is gone. `drained` = all that was written has gone through `onBytes`. */
  onClosed(error: Error | undefined, drained: boolean): void;
  /** The handler threw, or what it returned was rejected. */
  onHandlerFailed(error: unknown): void;
  /** What the handler returned has settled. */
  onHandlerSettled(): void;
}

/** Held in each direction before the writer has to wait. */
const HIGH_WATER_MARK = 64 * 1024;

/** A bigger write is passed on in pieces, so that a slow visitor's window bounds what is copied. */
const LARGEST_PIECE = 256 * 1024;

const LOOPBACK = "127.0.0.1";

/**
 * What node:http documents as enough for `connection` events is a Duplex; the rest are the members of net.Socket that
 * frameworks use. The addresses are those of a cloudflared on the same machine, so that `trust proxy` settings for
 * loopback hold: the visitor's address is in Cf-Connecting-Ip and X-Forwarded-For.
 */
export class InProcessSocket extends Duplex {
  readonly remoteAddress = LOOPBACK;
  readonly remoteFamily = "IPv4";
  readonly remotePort = 0;
  readonly localAddress = LOOPBACK;
  readonly localFamily = "IPv4";
  readonly localPort = 0;
  readonly connecting = false;
  readonly pending = false;
  /** Which of the tunnel's connections brought the request. */
  readonly connIndex: number;
  bytesRead = 0;
  bytesWritten = 0;
  timeout: number | undefined;
  /** The handler has returned a promise that has not settled yet. */
  handlerPending = false;

  readonly #peer: SocketPeer;
  #timer: NodeJS.Timeout | undefined;
  /** A write that waits for the visitor. */
  #held: { readonly queue: Buffer[]; readonly done: (error?: Error | null) => void } | undefined;

  constructor(peer: SocketPeer, connIndex: number) {
    super({ highWaterMark: HIGH_WATER_MARK });
    this.connIndex = connIndex;
    this.#peer = peer;
    // `destroy(error)` of a handler is an answer that was cut off, never an uncaught exception.
    this.on("error", () => {});
  }

  /** Bytes for the reader, who keeps them. False = `onRoom` follows when they were taken. */
  deliver(bytes: Buffer): boolean {
    this.bytesRead += bytes.length;
    this.#timer?.refresh();
    return this.push(bytes);
  }

  /** There is room for what was held back. */
  resumeWriting(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#timer?.refresh();
    try {
      this.#pass(held.queue, held.done);
    } catch (error) {
      // Listeners of `drain` are called from here.
      this.handlerFailed(error);
    }
  }

  handlerFailed(error: unknown): void {
    this.#peer.onHandlerFailed(error);
  }

  handlerPends(result: Promise<unknown>): void {
    const settled = (): void => {
      this.handlerPending = false;
      this.#peer.onHandlerSettled();
    };
    this.handlerPending = true;
    result.then(settled, (error: unknown) => {
      settled();
      this.handlerFailed(error);
    });
  }

  /** The server's parser, and with it every handler that does not wait, runs inside `data`. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event !== "data") return super.emit(event, ...args);
    try {
      return super.emit(event, ...args);
    } catch (error) {
      this.handlerFailed(error);
      return true;
    }
  }

  override _read(): void {
    this.#peer.onRoom();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#timer?.refresh();
    this.#pass([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#timer?.refresh();
    this.#pass(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#peer.onFinished();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) process.nextTick(held.done, error ?? new Error("the socket was closed"));
    this.#peer.onClosed(error ?? undefined, this.writableLength === 0);
    done(error);
  }

  #pass(queue: Buffer[], done: (error?: Error | null) => void): void {
    for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) {
      let piece = chunk;
      if (chunk.length > LARGEST_PIECE) {
        piece = chunk.subarray(0, LARGEST_PIECE);
        queue.unshift(chunk.subarray(LARGEST_PIECE));
      }
      this.bytesWritten += piece.length;
      const room = this.#peer.onBytes(piece);
      if (!room && !this.destroyed) {
        this.#held = { queue, done };
        return;
      }
    }
    done();
  }

  get readyState(): string {
    if (this.readable) return this.writable ? "open" : "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  address(): { address: string; family: string; port: number } {
    return { address: LOOPBACK, family: "IPv4", port: 0 };
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  /** As net.Socket's: `timeout` is emitted after that long without a byte either way. */
  setTimeout(milliseconds: number, listener?: () => void): this {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.timeout = milliseconds;
    if (milliseconds > 0 && !this.destroyed) {
      this.#timer = setTimeout(() => this.emit("timeout"), milliseconds).unref();
      if (listener !== undefined) this.once("timeout", listener);
    } else if (listener !== undefined) {
      this.off("timeout", listener);
    }
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}
