/** A TLS socket with the edge's side of HTTP/2 on it: moves bytes and time between the two. */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { createHttp2Client } from "../protocol/http2/client.ts";
import type { Http2ClientConnection, Http2Options } from "../protocol/http2/types.ts";
import type { ByteChannel } from "../types.ts";
import type {
  CarriedStream,
  CarriedStreamHandler,
  Carrier,
  CarrierHandlers,
  ControlStream,
  StreamRequest,
} from "./carrier.ts";
import { openControlStream } from "./control-stream.ts";

/** How long last bytes may take before the socket is torn down. */
const LINGER_MS = 1_000;

function indexing(name: string): "index" | "name" | "never" {
  switch (name) {
    case "authorization":
      return "never";
    case "cf-ray":
    case "content-length":
    case "cookie":
    case "sec-websocket-key":
      return "name";
    default:
      return "index";
  }
}

/** A TCP connection as it was accepted. */
export interface Http2Accepted {
  readonly host: string;
  readonly tcp: Socket;
}

export class Http2Carrier implements Carrier {
  readonly protocol = "http2";
  readonly remoteAddress: string;
  readonly host: string;
  readonly tlsVersion: string;
  readonly client: Http2ClientConnection;
  readonly #socket: TLSSocket;
  readonly #tcp: Socket;
  readonly #authority: string;
  #error: Error | undefined;
  #scheduled = false;
  #frozen = false;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  /**
   * @param where the host that was dialled, and the TCP socket below `socket`
   * @param authority the edge's own name, for the control stream
   */
  constructor(
    socket: TLSSocket,
    where: Http2Accepted,
    options: Http2Options,
    authority: string,
    handlers: CarrierHandlers,
  ) {
    this.#socket = socket;
    this.#tcp = where.tcp;
    this.host = where.host;
    this.#authority = authority;
    this.remoteAddress = `${socket.remoteAddress}:${socket.remotePort}`;
    this.tlsVersion = socket.getProtocol() ?? "";
    this.client = createHttp2Client(
      options,
      {
        onOutput: () => this.#schedule(),
        onReady: () => handlers.onReady(),
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

  get availableStreams(): number {
    return this.client.availableStreams;
  }

  openControl(onEnd: () => void): ControlStream | undefined {
    return openControlStream(this.client, this.#authority, onEnd);
  }

  open(request: StreamRequest, handler: CarriedStreamHandler): CarriedStream | undefined {
    const { method = "GET", authority, path = "/", fields = [], end = false } = request;
    const isConnect = method === "CONNECT";
    return this.client.request(
      (encoder) => {
        encoder.pseudo(method, isConnect ? undefined : "https", authority, isConnect ? undefined : path);
        for (const [name, value] of fields) encoder.field(name, value, indexing(name));
      },
      end,
      {
        onResponse: ({ status, fields }) =>
          handler.onResponse({ status, fields: fields.map(({ name, value }) => [name, value]) }),
        onData: (chunk) => handler.onData(chunk),
        onEnd: (trailers) => handler.onEnd(trailers),
        onCancel: (cancel) => handler.onCancel(cancel),
        onWritable: () => handler.onWritable(),
      },
    );
  }

  openRpc(): ByteChannel | undefined {
    return undefined;
  }

  goaway(code: number): void {
    this.client.goaway(code);
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

  reset(): void {
    this.#tcp.resetAndDestroy();
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
