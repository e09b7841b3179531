/**
 * The HTTP/2 transport (wire § 4): the connector dials TLS and is then the HTTP/2 server; the edge opens all streams.
 * Sockets and time live here, the protocol in protocol/http2.
 */
import type { TLSSocket } from "node:tls";
import { createHttp2Server } from "../protocol/http2/server.ts";
import { ErrorCode, type Http2Connection, type Http2Stream, type RequestHead } from "../protocol/http2/types.ts";
import type { MemoryBudget } from "../protocol/memory-budget/budget.ts";
import type {
  ByteChannel,
  CancelReason,
  CloseReason,
  EdgeAddress,
  EdgeConnection,
  EdgeRequest,
  Logger,
} from "../types.ts";
import { dialTls } from "./dial.ts";
import type { EdgeProxy } from "./proxy-socket.ts";
import { EdgeConnectionError } from "./errors.ts";
import { receiveConfiguration } from "./http2-configuration.ts";
import { classifyRequest } from "./http2-request.ts";
import { controlChannel, Http2EdgeStream, type RequestKind } from "./http2-stream.ts";
import { SilenceWatch } from "./silence.ts";
import type { EdgeTls } from "./tls.ts";

/** SNI and the name that the edge's certificate must carry (wire § 3). */
const SERVER_NAME = "h2.cftunnel.com";

/** One read of the TLS socket; everything that outlives the callback is copied out of it. */
const READ_BUFFER_BYTES = 64 * 1024;

/** The edge PINGs us, but nothing tells us when it stops: an unanswered PING of ours does. */
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 10_000;
/** Half of that time over, the connection is suspected. */
const SILENCE_MS = PING_INTERVAL_MS + PING_TIMEOUT_MS / 2;

/** Between two PINGs that measure the round trip. */
const MEASURE_MS = 30_000;

/** How long a closing connection may take to send its last bytes before the socket is torn down. */
const LINGER_MS = 1_000;

export interface Http2DialOptions {
  readonly connIndex: number;
  readonly address: EdgeAddress;
  readonly tls: EdgeTls;
  readonly bindAddress?: string;
  readonly proxy?: EdgeProxy;
  readonly signal: AbortSignal;
  /** For TCP, and again for the handshake. Default as cloudflared, 15,000. */
  readonly timeoutMs?: number;
  readonly budget: MemoryBudget;
  /** Announced SETTINGS_MAX_CONCURRENT_STREAMS; default as cloudflared, 2^32-1. */
  readonly maxConcurrentStreams?: number;
  readonly logger: Logger;
}

class Http2EdgeConnection implements EdgeConnection {
  readonly protocol = "http2";
  readonly connIndex: number;
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly goingAway: Promise<void>;
  readonly closed: Promise<CloseReason>;
  /** Until the connector listens there is nothing to ask: the edge opens other streams only after the registration. */
  onRequest: (request: EdgeRequest) => void = (request) => {
    if (request.kind !== "configuration") request.stream.abort();
  };
  onSilence: (silent: boolean) => void = () => {};
  closingReason: CancelReason | undefined;
  resets = 0;
  roundTripMs: number | undefined;

  readonly #socket: TLSSocket;
  readonly #codec: Http2Connection;
  readonly #logger: Logger;
  readonly #silence = new SilenceWatch({
    limitMs: () => SILENCE_MS,
    roundTripMs: () => this.roundTripMs,
    onChange: (silent) => this.onSilence(silent),
  });
  readonly #measuring: NodeJS.Timeout;
  readonly #controlOpened: Promise<ByteChannel>;
  #resolveControl!: (channel: ByteChannel) => void;
  #rejectControl!: (error: Error) => void;
  #resolveClosed!: (reason: CloseReason) => void;
  #resolveGoingAway!: () => void;
  #closeReason: CloseReason | undefined;
  #controlStreams = 0;
  #flushScheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  constructor(socket: TLSSocket, options: Http2DialOptions) {
    const { address } = options;
    this.#socket = socket;
    this.#logger = options.logger;
    this.connIndex = options.connIndex;
    this.remoteAddress = address.family === 6 ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
    this.localAddress = socket.localAddress ?? "";
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.goingAway = new Promise((resolve) => {
      this.#resolveGoingAway = resolve;
    });
    this.#controlOpened = new Promise((resolve, reject) => {
      this.#resolveControl = resolve;
      this.#rejectControl = reject;
    });
    // Whoever does not ask for the control stream need not hear that it never came.
    this.#controlOpened.catch(() => {});
    this.#codec = createHttp2Server(
      {
        budget: options.budget,
        pingIntervalMs: PING_INTERVAL_MS,
        pingTimeoutMs: PING_TIMEOUT_MS,
        ...(options.maxConcurrentStreams === undefined ? {} : { maxConcurrentStreams: options.maxConcurrentStreams }),
      },
      {
        onRequest: (stream, head, end) => this.#dispatch(stream, head, end),
        onOutput: () => this.#scheduleFlush(),
        onGoaway: (code) => {
          this.#logger.debug("The edge sent GOAWAY", { connIndex: this.connIndex, code });
          this.#resolveGoingAway();
        },
        onPong: (roundTripMs) => {
          this.roundTripMs = roundTripMs;
        },
        onError: (error) => this.#fail(error),
      },
      performance.now(),
    );
    this.#measuring = setInterval(() => this.#codec.ping(performance.now()), MEASURE_MS);
    this.#measuring.unref();
    socket.on("error", (error) => this.#remember({ kind: "error", error }));
    socket.on("close", () => this.#gone());
    this.#scheduleFlush();
    this.#armTimer();
  }

  get openStreams(): number {
    return this.#codec.openStreams - this.#controlStreams;
  }

  receive(bytes: Buffer): void {
    const now = performance.now();
    this.#silence.heard(now);
    this.#codec.receive(bytes, now);
    this.#armTimer();
  }

  probe(): void {
    this.#codec.ping(performance.now());
    this.#silence.asked();
  }

  control(signal?: AbortSignal): Promise<ByteChannel> {
    if (signal === undefined) return this.#controlOpened;
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(signal.reason);
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort, { once: true });
      this.#controlOpened.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    });
  }

  goaway(): void {
    this.#codec.noticeGoaway();
  }

  async close(reason: CloseReason): Promise<void> {
    this.#remember(reason);
    this.closingReason ??= reason.kind === "shutdown" ? "shutdown" : "edge-lost";
    this.#rest();
    this.#codec.goaway(ErrorCode.NO_ERROR);
    this.#codec.socketClosed();
    this.#endSocket();
    await this.closed;
  }

  defect(error: unknown): void {
    this.#logger.error("Request handler failed", { connIndex: this.connIndex, error });
  }

  #dispatch(stream: Http2Stream, head: RequestHead, end: boolean): void {
    const { kind, headers } = classifyRequest(head);
    if (kind === "control") {
      this.#openControl(stream);
      return;
    }
    const edgeStream = new Http2EdgeStream(stream, end, kind, this);
    stream.handler = edgeStream;
    try {
      this.#request(kind, head, headers, edgeStream);
    } catch (error) {
      this.defect(error);
      edgeStream.abort();
    }
  }

  #request(kind: RequestKind, head: RequestHead, headers: EdgeHeaders, stream: Http2EdgeStream): void {
    const { authority, method, path, contentLength } = head;
    switch (kind) {
      case "http":
        this.onRequest({ kind, headers, authority, stream, method, path, contentLength });
        break;
      case "websocket":
        this.onRequest({ kind, headers, authority, stream, method, path });
        break;
      case "tcp":
        this.onRequest({ kind, headers, authority, stream, destination: authority });
        break;
      case "configuration":
        receiveConfiguration(stream, (update) => this.onRequest(update));
        break;
    }
  }

  #openControl(stream: Http2Stream): void {
    if (this.#controlStreams > 0) {
      // A second one would be a second registration of the same connection.
      stream.reset(ErrorCode.REFUSED_STREAM);
      return;
    }
    this.#controlStreams = 1;
    this.#resolveControl(
      controlChannel(stream, () => {
        if (stream.closed) this.#controlStreams = 0;
      }),
    );
    this.#codec.ping(performance.now());
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    // The frames of all streams that had something to say leave in one TLS record. One look more at what has arrived meanwhile
    // (the loop does not wait for it) puts a third more into each: a record costs as much as two messages.
    setImmediate(() =>
      setImmediate(() => {
        this.#flushScheduled = false;
        this.#flush();
      }),
    );
  }

  #flush(): void {
    for (let buffer = this.#codec.takeOutput(); buffer !== undefined; buffer = this.#codec.takeOutput()) {
      const taken = buffer;
      this.#socket.write(taken, () => this.#written(taken));
    }
  }

  #written(buffer: Buffer): void {
    this.#codec.recycle(buffer);
    // While more is waiting, the edge must have made room: an answer of its own may wait behind on a slow line.
    if (this.#socket.writableLength > 0) this.#silence.heard(performance.now());
  }

  #armTimer(): void {
    const { deadline } = this.#codec;
    if (deadline === undefined || deadline >= this.#timerDue || this.#socket.destroyed) return;
    clearTimeout(this.#timer);
    this.#timerDue = deadline;
    this.#timer = setTimeout(
      () => {
        this.#timerDue = Number.POSITIVE_INFINITY;
        this.#codec.tick(performance.now());
        this.#armTimer();
      },
      Math.max(0, deadline - performance.now()),
    );
  }

  #remember(reason: CloseReason): void {
    this.#closeReason ??= reason;
  }

  #fail(error: Error): void {
    const reason: CloseReason = { kind: "error", error };
    this.#remember(reason);
    this.#rest();
    // At once: a peer that is frozen will not close its side, and its streams have been cancelled already.
    this.#resolveClosed(reason);
    this.#endSocket();
  }

  #endSocket(): void {
    if (this.#socket.destroyed) return;
    this.#flush();
    this.#socket.end();
    const linger = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.#socket.once("close", () => clearTimeout(linger));
  }

  #rest(): void {
    this.#silence.stop();
    clearInterval(this.#measuring);
  }

  #gone(): void {
    this.#rest();
    clearTimeout(this.#timer);
    this.#timerDue = Number.NEGATIVE_INFINITY;
    this.#remember({ kind: "edge-closed" });
    this.#codec.socketClosed();
    const reason = this.#closeReason ?? { kind: "edge-closed" };
    this.#rejectControl(
      reason.kind === "error"
        ? reason.error
        : new EdgeConnectionError("the edge closed the connection before it opened the control stream"),
    );
    this.#resolveClosed(reason);
  }
}

type EdgeHeaders = ReturnType<typeof classifyRequest>["headers"];

/** Dials the edge and sends our SETTINGS. Rejects with DialError, or the signal's reason. */
export async function dialHttp2(options: Http2DialOptions): Promise<EdgeConnection> {
  let connection: Http2EdgeConnection | undefined;
  const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  const early: Buffer[] = [];
  const socket = await dialTls({
    address: options.address,
    servername: SERVER_NAME,
    tls: options.tls,
    signal: options.signal,
    ...(options.bindAddress === undefined ? {} : { bindAddress: options.bindAddress }),
    ...(options.proxy === undefined ? {} : { proxy: options.proxy }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    onread: {
      buffer,
      callback: (length, view) => {
        const bytes = Buffer.from(view.buffer, view.byteOffset, length);
        if (connection === undefined) early.push(Buffer.from(bytes));
        else connection.receive(bytes);
        return true;
      },
    },
  });
  connection = new Http2EdgeConnection(socket, options);
  for (const bytes of early) connection.receive(bytes);
  return connection;
}
