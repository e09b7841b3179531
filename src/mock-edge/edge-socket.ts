/** A TLS socket with the edge's side of HTTP/2 on it: moves bytes and time between the two. */
import type { TLSSocket } from "node:tls";
import { createHttp2Client } from "../protocol/http2/client.ts";
import type { Http2ClientConnection, Http2Options } from "../protocol/http2/types.ts";

export interface EdgeSocketHandlers {
  /** The connector's SETTINGS have come. */
  onReady(): void;
  onGoaway(code: number): void;
  onPong(roundTripMs: number): void;
  /** The socket is gone; called once. */
  onClose(error: Error | undefined): void;
}

/** How long last bytes may take before the socket is torn down. */
const LINGER_MS = 1_000;

export class EdgeSocket {
  readonly client: Http2ClientConnection;
  readonly #socket: TLSSocket;
  #error: Error | undefined;
  #scheduled = false;
  #frozen = false;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  constructor(socket: TLSSocket, options: Http2Options, handlers: EdgeSocketHandlers) {
    this.#socket = socket;
    this.client = createHttp2Client(
      options,
      {
        onOutput: () => this.#schedule(),
        onReady: () => handlers.onReady(),
        onGoaway: (code) => handlers.onGoaway(code),
        onPong: (roundTripMs) => handlers.onPong(roundTripMs),
        onError: (error) => {
          this.#error ??= error;
          this.close();
        },
      },
      performance.now(),
    );
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => {
      this.client.receive(bytes, performance.now());
      this.#arm();
    });
    socket.on("error", (error) => {
      this.#error ??= error;
    });
    socket.on("close", () => {
      this.#disarm();
      this.client.socketClosed();
      handlers.onClose(this.#error);
    });
    this.#schedule();
    this.#arm();
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  ping(): void {
    this.client.ping(performance.now());
    this.#arm();
  }

  /** Neither reads nor writes any more: what a connector sees when the edge's machine is gone without a word. */
  freeze(): void {
    this.#frozen = true;
    this.#socket.pause();
    this.#disarm();
  }

  thaw(): void {
    this.#frozen = false;
    this.#socket.resume();
    this.#schedule();
    this.#arm();
  }

  /** Writes bytes of the caller's own between two frames. */
  writeRaw(bytes: Uint8Array): void {
    this.flush();
    this.#socket.write(bytes);
  }

  flush(): void {
    if (this.#frozen) return;
    const { client } = this;
    for (let buffer = client.takeOutput(); buffer !== undefined; buffer = client.takeOutput()) {
      const taken = buffer;
      this.#socket.write(taken, () => client.recycle(taken));
    }
  }

  /** Sends what is queued, then closes. */
  close(): void {
    this.flush();
    this.#socket.end();
    const linger = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.#socket.once("close", () => clearTimeout(linger));
  }

  /** Closes TCP at once. */
  drop(): void {
    this.#socket.destroy();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timerDue = Number.POSITIVE_INFINITY;
  }

  /** A deadline that has moved on since only makes the tick come early, which does no harm. */
  #arm(): void {
    const { deadline } = this.client;
    if (deadline === undefined || deadline >= this.#timerDue || this.#frozen || this.#socket.destroyed) return;
    clearTimeout(this.#timer);
    this.#timerDue = deadline;
    this.#timer = setTimeout(
      () => {
        this.#timerDue = Number.POSITIVE_INFINITY;
        this.client.tick(performance.now());
        this.#arm();
      },
      Math.max(1, deadline - performance.now()),
    );
  }
}
