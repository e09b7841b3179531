/** A connector's QUIC connection (wire § 5): the connector opens the control stream, the edge all others. */
import { RPC_SIGNATURE, StreamHeadReader } from "../protocol/argotunnel/stream-head.ts";
import { connectRequestType } from "../protocol/capnp/connect.ts";
import type { ConnectionHandler, ConnectionStats } from "../protocol/quic/connection/options.ts";
import type { QuicConnection } from "../protocol/quic/connection.ts";
import type { QuicConnectionError } from "../protocol/quic/errors.ts";
import type { QuicStream, QuicStreamSink } from "../protocol/quic/streams/types.ts";
import type { ByteChannel, DatagramChannel } from "../types.ts";
import type {
  CarriedStream,
  CarriedStreamHandler,
  Carrier,
  CarrierHandlers,
  ControlStream,
  StreamRequest,
} from "./carrier.ts";
import { QuicCarriedStream } from "./quic-carried-stream.ts";

/** All application error codes of this protocol. */
const NO_ERROR = 0;

const EMPTY = Buffer.alloc(0);

/** What the carrier needs of the socket that its connection lives on. */
export interface QuicLink {
  readonly connection: QuicConnection;
  readonly remoteAddress: string;
  readonly host: string;
  /** There is something to send. */
  wake(): void;
  /** Sends it now. */
  flush(): void;
  /** Neither reads nor writes, as if the edge's machine were gone; or does again. */
  freeze(frozen: boolean): void;
  /** Forgets the connection without a word. */
  forget(): void;
}

/** Made before its connection, which is born with it as its handler. */
export class QuicCarrier implements Carrier, ConnectionHandler {
  readonly protocol = "quic";
  readonly tlsVersion = "TLSv1.3";
  readonly datagrams: DatagramChannel;
  /** A stream that the connector opened to call the edge. */
  onRpc: (channel: ByteChannel) => void = (channel) => channel.end();
  #link: QuicLink | undefined;
  #handlers: CarrierHandlers | undefined;
  readonly #onEstablished: () => void;
  #control: QuicStream | undefined;
  #closed = false;

  /** @param onEstablished the handshake is complete: now a Connection is to be made of it */
  constructor(onEstablished: (carrier: QuicCarrier) => void) {
    this.#onEstablished = () => onEstablished(this);
    this.datagrams = {
      onDatagram() {},
      send: (datagram) => {
        const sent = this.#link?.connection.sendDatagram(Buffer.from(datagram)) ?? false;
        this.#link?.wake();
        return sent;
      },
    };
  }

  link(link: QuicLink): void {
    this.#link = link;
  }

  carry(handlers: CarrierHandlers): this {
    this.#handlers = handlers;
    return this;
  }

  get host(): string {
    return this.#link?.host ?? "";
  }

  get remoteAddress(): string {
    return this.#link?.remoteAddress ?? "";
  }

  /** Undefined before the connection has begun. */
  get stats(): ConnectionStats | undefined {
    return this.#link?.connection.stats;
  }

  get availableStreams(): number {
    return this.#closed || this.#link?.connection.state !== "connected" ? 0 : 1;
  }

  openControl(onEnd: () => void): ControlStream | undefined {
    const stream = this.#control;
    const link = this.#link;
    if (stream === undefined || link === undefined) return undefined;
    let ended = false;
    const channel = rpcChannel(stream, link, (error) => {
      if (ended) return;
      ended = true;
      channel.onEnd(error);
      onEnd();
    });
    return {
      channel,
      end: () => channel.end(),
      reset: (code = NO_ERROR) => {
        stream.reset(code);
        stream.stopSending(code);
        link.wake();
        if (ended) return;
        ended = true;
        channel.onEnd(new Error("the control stream was reset"));
        onEnd();
      },
    };
  }

  open(request: StreamRequest, handler: CarriedStreamHandler): CarriedStream | undefined {
    const link = this.#link;
    const stream = link?.connection.openStream(true);
    if (link === undefined || stream === undefined) return undefined;
    return new QuicCarriedStream(stream, link, request, handler);
  }

  openRpc(): ByteChannel | undefined {
    const link = this.#link;
    const stream = link?.connection.openStream(true);
    if (link === undefined || stream === undefined) return undefined;
    const channel: ByteChannel = rpcChannel(stream, link, (error) => channel.onEnd(error));
    channel.write(RPC_SIGNATURE);
    return channel;
  }

  /** QUIC acknowledges all the time: the answer is the round trip that it has measured. */
  ping(): void {
    const roundTripMs = this.#link?.connection.stats.rtt ?? 0;
    setImmediate(() => this.#handlers?.onPong(roundTripMs));
  }

  /** Nor a GOAWAY: a connection that is to go is closed. */
  goaway(): void {
    this.close();
  }

  writeRaw(): void {}

  freeze(): void {
    this.#link?.freeze(true);
  }

  thaw(): void {
    this.#link?.freeze(false);
  }

  flush(): void {
    this.#link?.flush();
  }

  close(): void {
    this.#link?.connection.close(NO_ERROR, "", performance.now());
    this.#link?.flush();
  }

  drop(): void {
    this.#link?.forget();
    this.#gone(undefined);
  }

  /** What still comes to a connection that is forgotten is answered by a stateless reset (RFC 9000 § 10.3). */
  reset(): void {
    this.drop();
  }

  onHandshakeComplete(): void {
    this.#onEstablished();
  }

  onStream(stream: QuicStream): void {
    const link = this.#link;
    if (link === undefined || !stream.bidirectional) {
      stream.stopSending(NO_ERROR);
      return;
    }
    if (stream.id === 0) {
      this.#control = stream;
      this.#handlers?.onReady();
      return;
    }
    new IncomingRpc(stream, (rest) => {
      const channel: ByteChannel = rpcChannel(stream, link, (error) => channel.onEnd(error));
      this.onRpc(channel);
      if (rest.length > 0) channel.onData(rest);
    }).listen();
  }

  onDatagram(bytes: Buffer): void {
    this.datagrams.onDatagram(bytes);
  }

  onClosed(error: QuicConnectionError): void {
    const inOrder = error.end === "closed" || (error.end === "peer-application" && error.errorCode === NO_ERROR);
    this.#gone(inOrder ? undefined : error);
  }

  #gone(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers?.onClose(error);
  }
}

/** A stream of the connector whose signature has not come whole. */
class IncomingRpc implements QuicStreamSink {
  readonly #stream: QuicStream;
  readonly #onRpc: (rest: Buffer) => void;
  readonly #reader = new StreamHeadReader(connectRequestType);

  constructor(stream: QuicStream, onRpc: (rest: Buffer) => void) {
    this.#stream = stream;
    this.#onRpc = onRpc;
  }

  listen(): void {
    this.#stream.sink = this;
  }

  onData(chunk: Buffer): void {
    this.#stream.consumed(chunk.length);
    try {
      const head = this.#reader.receive(chunk);
      if (head?.kind === "rpc") this.#onRpc(head.rest);
      else if (head !== undefined) this.#breakOff();
    } catch {
      this.#breakOff();
    }
  }

  onEnd(): void {
    this.#breakOff();
  }

  onReset(): void {}
  onStopSending(): void {}
  onWritable(): void {}
  onEvicted(): void {}

  #breakOff(): void {
    this.#stream.reset(NO_ERROR);
    this.#stream.stopSending(NO_ERROR);
  }
}

/** A stream that carries RPC as a byte channel; `onEnd` is called at its end, or when it breaks. */
function rpcChannel(stream: QuicStream, link: QuicLink, onEnd: (error?: Error) => void): ByteChannel {
  const channel: ByteChannel = {
    onData() {},
    onEnd() {},
    write(bytes) {
      stream.write(Buffer.from(bytes), false);
      link.wake();
    },
    end() {
      stream.write(EMPTY, true);
      link.wake();
    },
  };
  stream.sink = {
    onData(chunk) {
      stream.consumed(chunk.length);
      channel.onData(chunk);
    },
    onEnd: () => onEnd(),
    onReset: () => onEnd(new Error("the connector reset the stream")),
    onStopSending: () => onEnd(new Error("the connector stopped reading the stream")),
    onWritable() {},
    onEvicted: () => onEnd(new Error("the stream held too much that nobody read")),
    onClosed: () => onEnd(new Error("the connector's connection is gone")),
  };
  return channel;
}
