/**
 * The QUIC transport (wire § 5): the connector is the client; it opens the control stream, the edge opens all others but the RPC
 * streams on which the connector ends UDP sessions. Sockets and time live in quic-socket.ts, the protocol in protocol/quic.
 */
import type dgram from "node:dgram";
import { randomBytes } from "node:crypto";
import { FieldCache } from "../protocol/argotunnel/field-cache.ts";
import { connectTarget } from "../protocol/argotunnel/request.ts";
import { errorResponse } from "../protocol/argotunnel/response.ts";
import { encodeStreamHead, RPC_SIGNATURE } from "../protocol/argotunnel/stream-head.ts";
import { connectResponseType } from "../protocol/capnp/connect.ts";
import type { MemoryBudget } from "../protocol/memory-budget/budget.ts";
import { connectQuic } from "../protocol/quic/connection-client.ts";
import type { QuicConnection } from "../protocol/quic/connection.ts";
import { QuicConnectionError, TransportErrorCode } from "../protocol/quic/errors.ts";
import type { QuicStream } from "../protocol/quic/streams/types.ts";
import { Alert } from "../protocol/tls13/errors.ts";
import type {
  ByteChannel,
  CancelReason,
  CloseReason,
  DatagramChannel,
  EdgeAddress,
  EdgeConnection,
  EdgeRequest,
  Logger,
  QuicStats,
} from "../types.ts";
import { DialError, EdgeConnectionError } from "./errors.ts";
import { type IncomingHead, IncomingStream } from "./quic-incoming-stream.ts";
import type { DatagramSizes } from "./datagram-sizes.ts";
import { datagramOfEveryPath } from "./link-mtu.ts";
import { openClientSocket, QuicPump, sender } from "./quic-socket.ts";
import { QuicEdgeStream, type QuicStreamHost, streamChannel } from "./quic-stream.ts";
import type { QuicTls } from "./quic-tls.ts";
import { SilenceWatch } from "./silence.ts";

const SERVER_NAME = "quic.cftunnel.com";
const ALPN = "argotunnel";

/** cloudflared's settings (wire § 5.1). A shorter idle timeout of the edge counts no less than these five seconds there. */
const IDLE_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_MS = 1_000;
/** Two keep-alives and what follows them went unanswered. */
const SILENCE_MS = 3_000;
/** On long ways a keep-alive goes out every one and a half probe timeouts, and its answer takes one at most. */
const SILENCE_PROBE_TIMEOUTS = 3;
const HANDSHAKE_IDLE_MS = 5_000;
const HANDSHAKE_LIMIT_MS = 10_000;
const MAX_DATAGRAM_FRAME = 16_383;

/** Application error codes are always 0. */
const NO_ERROR = 0;

export interface QuicDialOptions {
  readonly connIndex: number;
  readonly address: EdgeAddress;
  readonly tls: QuicTls;
  readonly bindAddress?: string;
  /** The local port of this index's last connection (wire § 5.1); 0 = any. */
  readonly bindPort: number;
  /** That the edge gave to a former connection, for a next one to this address (RFC 9000 § 8.1.3). */
  readonly token?: Buffer | undefined;
  readonly onNewToken?: (token: Buffer) => void;
  readonly sizes: DatagramSizes;
  readonly signal: AbortSignal;
  readonly budget: MemoryBudget;
  readonly logger: Logger;
}

/** A connection of QUIC, and what only QUIC has. */
export interface QuicEdge extends EdgeConnection {
  readonly localPort: number;
}

class QuicEdgeConnection implements QuicEdge, QuicStreamHost {
  readonly protocol = "quic";
  readonly connIndex: number;
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly localPort: number;
  readonly datagrams: DatagramChannel;
  readonly closed: Promise<CloseReason>;
  onRequest: (request: EdgeRequest) => void = (request) => {
    if (request.kind !== "configuration") request.stream.abort();
  };
  onRpc: (channel: ByteChannel) => void = (channel) => channel.end();
  onSilence: (silent: boolean) => void = () => {};
  closingReason: CancelReason | undefined;
  resets = 0;

  readonly #fields = new FieldCache();
  readonly #connection: QuicConnection;
  readonly #pump: QuicPump;
  readonly #logger: Logger;
  /** The system says that a datagram was too large for the path. */
  readonly #onTooBig: () => void;
  readonly #silence: SilenceWatch;
  readonly #ready: Promise<void>;
  #resolveReady!: () => void;
  #rejectReady!: (error: Error) => void;
  #resolveClosed!: (reason: CloseReason) => void;
  #resolveSocketClosed!: () => void;
  readonly #socketClosed: Promise<void>;
  #closeReason: CloseReason | undefined;
  #toldOfTrailers = false;
  #control: ByteChannel | undefined;

  constructor(socket: dgram.Socket, options: QuicDialOptions) {
    const { address, sizes } = options;
    const local = socket.address();
    this.#logger = options.logger;
    this.connIndex = options.connIndex;
    this.remoteAddress = address.family === 6 ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
    this.localAddress = local.address;
    this.localPort = local.port;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#socketClosed = new Promise((resolve) => {
      this.#resolveSocketClosed = resolve;
    });
    this.#ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.#connection = connectQuic(
      {
        tls: { ...options.tls, serverName: SERVER_NAME, alpn: [ALPN], time: Date.now() },
        random: randomBytes,
        handler: {
          onHandshakeComplete: () => this.#resolveReady(),
          onStream: (stream) => this.#accept(stream),
          onDatagram: (bytes) => this.datagrams.onDatagram(bytes),
          onClosed: (error) => this.#gone(error),
          onNewToken: (token) => options.onNewToken?.(Buffer.from(token)),
        },
        ...(options.token === undefined ? {} : { token: options.token }),
        budget: options.budget,
        maxIdleTimeout: IDLE_TIMEOUT_MS,
        keepAlive: KEEP_ALIVE_MS,
        handshakeIdleTimeout: HANDSHAKE_IDLE_MS,
        handshakeTimeout: HANDSHAKE_LIMIT_MS,
        maxDatagramFrameSize: MAX_DATAGRAM_FRAME,
        maxMtu: sizes.largest(address.ip, local.address, performance.now()),
      },
      performance.now(),
    );
    this.#onTooBig = () => sizes.onTooBig(address.ip, performance.now());
    const unfollow = sizes.follow(address.ip, () => this.#connection.onTooBig(datagramOfEveryPath(local.address)));
    this.#silence = new SilenceWatch({
      limitMs: () => Math.max(SILENCE_MS, SILENCE_PROBE_TIMEOUTS * this.#connection.probeTimeout),
      roundTripMs: () => this.roundTripMs,
      onChange: (silent) => this.onSilence(silent),
    });
    const told = (error: Error | null): void => this.#refused(error);
    const listener = () => {
      const { searchesMtu, state } = this.#connection;
      return state === "handshaking" || searchesMtu ? told : undefined;
    };
    this.#pump = new QuicPump(this.#connection, sender(socket, listener), () => {
      unfollow();
      socket.close();
      this.#resolveSocketClosed();
    });
    this.datagrams = {
      onDatagram() {},
      send: (datagram) => {
        const sent = this.#connection.sendDatagram(
          Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength),
        );
        if (sent) this.wake();
        return sent;
      },
    };
    socket.on("message", (datagram) => {
      const { largestReceived } = this.#connection;
      this.#pump.receive(datagram);
      // Anyone can send a datagram, and one that ends the connection is no sign of life.
      if (this.#connection.largestReceived > largestReceived) this.#silence.heard(performance.now());
    });
    socket.on("error", (error) => this.#refused(error));
    this.wake();
  }

  /** Resolves when the handshake is complete. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  get openStreams(): number {
    return this.#connection.openPeerStreams;
  }

  get roundTripMs(): number | undefined {
    return this.#connection.stats.rtt;
  }

  get quicStats(): QuicStats {
    return this.#connection.stats;
  }

  probe(): void {
    this.#connection.ping();
    this.wake();
    this.#silence.asked();
  }

  wake(): void {
    this.#pump.wake();
  }

  control(): Promise<ByteChannel> {
    this.#control ??= this.#open();
    return this.#control === undefined
      ? Promise.reject(new EdgeConnectionError("the edge allows no control stream on this QUIC connection"))
      : Promise.resolve(this.#control);
  }

  /** Undefined while the edge allows no more streams, and when the connection is gone. */
  openRpc(): ByteChannel | undefined {
    const channel = this.#open();
    channel?.write(RPC_SIGNATURE);
    return channel;
  }

  async close(reason: CloseReason): Promise<void> {
    this.#closeReason ??= reason;
    this.closingReason ??= reason.kind === "shutdown" ? "shutdown" : "edge-lost";
    this.#silence.stop();
    // What is written already goes first: the control stream's last words.
    this.#pump.flush();
    this.#connection.close(NO_ERROR, "", performance.now());
    // Said once; a peer that did not hear it finds out by its idle timeout, and need not hold this process up.
    this.#pump.flush();
    this.#pump.stop();
    await this.#socketClosed;
  }

  defect(error: unknown): void {
    this.#logger.error("Request handler failed", { connIndex: this.connIndex, error });
  }

  trailersDropped(): void {
    if (this.#toldOfTrailers) return;
    this.#toldOfTrailers = true;
    this.#logger.warn(
      "An origin's trailers were dropped: QUIC has no place for them; protocol http2 carries them, and gRPC",
      {
        connIndex: this.connIndex,
      },
    );
  }

  #open(): ByteChannel | undefined {
    const stream = this.#connection.openStream(true);
    return stream === undefined ? undefined : streamChannel(stream, () => this.wake());
  }

  #accept(stream: QuicStream): void {
    if (!stream.bidirectional) {
      // The reference takes such streams and never reads them; here they take no memory.
      stream.stopSending(NO_ERROR);
      return;
    }
    stream.sink = new IncomingStream(stream, this, (head, rest) => this.#dispatch(stream, head, rest));
  }

  #dispatch(stream: QuicStream, head: IncomingHead, rest: Buffer): void {
    if (head.kind === "rpc") {
      const channel = streamChannel(stream, () => this.wake());
      this.onRpc(channel);
      if (rest.length > 0) stream.sink.onData(rest);
      return;
    }
    let edgeStream: QuicEdgeStream | undefined;
    try {
      const target = connectTarget(head.message, this.#fields);
      const bodyless = target.kind !== "tcp" && !target.hasBody;
      edgeStream = new QuicEdgeStream(stream, bodyless, target.kind, this);
      stream.sink = edgeStream;
      switch (target.kind) {
        case "http":
          this.onRequest({ ...target, stream: edgeStream });
          break;
        case "websocket":
          this.onRequest({ ...target, kind: "websocket", stream: edgeStream });
          break;
        case "tcp":
          this.onRequest({ ...target, headers: [], authority: target.destination, stream: edgeStream });
          break;
      }
      if (rest.length > 0) edgeStream.onData(rest);
    } catch (error) {
      if (edgeStream === undefined) refuse(stream, messageOf(error));
      else {
        this.defect(error);
        edgeStream.abort();
      }
    }
  }

  /** An ICMP message that nobody listens there is worth a look at another address; once there is a connection, anyone may have sent it. */
  #refused(error: Error | null): void {
    if (error === null || !("code" in error)) return;
    if (error.code === "EMSGSIZE") this.#onTooBig();
    if (this.#connection.state !== "handshaking" || error.code !== "ECONNREFUSED") return;
    this.#rejectReady(new Error("nothing listens there", { cause: error }));
    void this.close({ kind: "error", error });
  }

  #gone(error: QuicConnectionError): void {
    this.#silence.stop();
    this.#closeReason ??=
      error.end === "peer-application" && error.errorCode === NO_ERROR
        ? { kind: "edge-closed" }
        : { kind: "error", error };
    this.#rejectReady(error);
    this.#resolveClosed(this.#closeReason);
  }
}

function refuse(stream: QuicStream, error: string): void {
  stream.write(encodeStreamHead(connectResponseType, errorResponse(error, false)), true);
  stream.stopSending(NO_ERROR);
}

const UNKNOWN_CA = TransportErrorCode.CRYPTO_ERROR + Alert.unknownCa;

/** With what to do, where only the dial knows it. */
function describe(error: unknown): string {
  const untrusted = error instanceof QuicConnectionError && error.end === "violation" && error.errorCode === UNKNOWN_CA;
  return untrusted ? `${messageOf(error)} (--cacert names other trust anchors)` : messageOf(error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Dials the edge over QUIC. Rejects with DialError, or the signal's reason. */
export async function dialQuic(options: QuicDialOptions): Promise<QuicEdge> {
  const { address, bindAddress, bindPort, signal } = options;
  const where = address.family === 6 ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
  signal.throwIfAborted();
  let socket: dgram.Socket;
  try {
    socket = await openClientSocket({ ip: address.ip, port: address.port, bindAddress, bindPort });
  } catch (cause) {
    throw new DialError("udp", address, `can't open a UDP socket for the edge at ${where}: ${messageOf(cause)}`, {
      cause,
    });
  }
  const connection = new QuicEdgeConnection(socket, options);
  const abort = (): void => void connection.close({ kind: "shutdown" });
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    await connection.ready;
    return connection;
  } catch (cause) {
    signal.throwIfAborted();
    throw new DialError("quic", address, `QUIC handshake failed with the edge at ${where}: ${describe(cause)}`, {
      cause,
    });
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
