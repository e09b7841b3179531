/**
 * A plain socket whose writes cost little, and on which a failed write does not lose the reply. An origin that refuses an upload answers and closes; unread
 * request bytes make its kernel reset the connection, and our next write fails while the answer still waits to be read. Node
 * destroys a socket at its first failed write, and what was received with it: a quarter of such answers were lost.
 */
import net from "node:net";

/** How long after a failed write the rest may take. Nothing arrives behind a reset, so that this is the time to read a buffer. */
const LINGER_MS = 1_000;

function isWriteFailure(error: Error | undefined): error is Error {
  return error !== undefined && "syscall" in error && error.syscall === "write";
}

export type WriteCallback = (error?: Error | null) => void;

function sendThroughStream(socket: net.Socket, data: Buffer | string, callback: WriteCallback): void {
  if (typeof data === "string") socket.write(data, "latin1", callback);
  else socket.write(data, callback);
}

/** The same for any socket: those with TLS go through their stream. */
export function send(socket: net.Socket, data: Buffer | string, callback: WriteCallback): void {
  if (socket instanceof OriginSocket) socket.send(data, callback);
  else sendThroughStream(socket, data, callback);
}

export class OriginSocket extends net.Socket {
  #failure: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  #onSent: WriteCallback = () => {};
  readonly #sent: WriteCallback = (error) => {
    // As the Writable does after a write that it queued.
    if (error) this.destroy(error);
    this.#onSent(error);
  };

  /** Node's streams end a socket by calling this; a write's failure waits until everything has been read. */
  override destroy(error?: Error): this {
    if (isWriteFailure(error) && this.#failure === undefined && !this.readableEnded && !this.destroyed) {
      this.#failure = error;
      this.#timer = setTimeout(() => this.#expire(), LINGER_MS);
      return this;
    }
    clearTimeout(this.#timer);
    return super.destroy(error);
  }

  /**
   * One write at a time, past the Writable's queue and its ticks: `callback` is called before this returns when the kernel takes
   * everything at once, which it nearly always does. Text is latin1.
   */
  send(data: Buffer | string, callback: WriteCallback): void {
    if (this.writableLength > 0 || this.writableEnded || this.connecting) {
      sendThroughStream(this, data, callback);
      return;
    }
    this.#onSent = callback;
    // What a Writable passes for a Buffer is "buffer"; the declared type knows only texts.
    this._write(data, typeof data === "string" ? "latin1" : ("buffer" as BufferEncoding), this.#sent);
  }

  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    if (chunk !== null || this.#failure === undefined) return super.push(chunk, encoding);
    this.destroy(this.#failure);
    return false;
  }

  #expire(): void {
    // A reader that was told to wait has not seen everything yet.
    if (this.isPaused()) this.#timer = setTimeout(() => this.#expire(), LINGER_MS);
    else this.destroy(this.#failure);
  }
}
