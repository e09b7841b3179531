/** A connector's QUIC connection (wire § 5): the connector opens the control stream, the edge all others. */
import { httpMetadata } from "../protocol/argotunnel/request.ts";
import { readConnectResponse } from "../protocol/argotunnel/response.ts";
import { encodeStreamHead, RPC_SIGNATURE, StreamHeadReader } from "../protocol/argotunnel/stream-head.ts";
import {
  CONNECTION_TYPE_HTTP,
  CONNECTION_TYPE_TCP,
  CONNECTION_TYPE_WEBSOCKET,
  type ConnectRequest,
  type ConnectResponse,
  connectRequestType,
  connectResponseType,
} from "../protocol/capnp/connect.ts";
import { HeaderField } from "../protocol/bytes/header-field.ts";
import type { ConnectionHandler } from "../protocol/quic/connection/options.ts";
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
import type { WireHead } from "./response-head.ts";

/** All application error codes of this protocol. */
const NO_ERROR = 0;

const EMPTY = Buffer.alloc(0);

const UPGRADE = "cf-cloudflared-proxy-connection-upgrade";
const PROXY_SRC = "cf-cloudflared-proxy-src";

/** What the carrier needs of the socket that its connection lives on. */
export interface QuicLink {
  readonly connection: QuicConnection;
  readonly remoteAddress: string;
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

  get remoteAddress(): string {
    return this.#link?.remoteAddress ?? "";
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

  /** QUIC has no PING that tells when it was answered. */
  ping(): void {}

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

/** A request's stream: the head goes out as a ConnectRequest, and the answer's comes as a ConnectResponse. */
class QuicCarriedStream implements CarriedStream, QuicStreamSink {
  readonly #stream: QuicStream;
  readonly #link: QuicLink;
  readonly #handler: CarriedStreamHandler;
  readonly #isTcp: boolean;
  #reader: StreamHeadReader<ConnectResponse> | undefined = new StreamHeadReader(connectResponseType);
  #localEnded = false;
  #remoteEnded = false;
  #dead = false;

  constructor(stream: QuicStream, link: QuicLink, request: StreamRequest, handler: CarriedStreamHandler) {
    this.#stream = stream;
    this.#link = link;
    this.#handler = handler;
    stream.sink = this;
    const head = connectRequest(request);
    this.#isTcp = head.type === CONNECTION_TYPE_TCP;
    this.write(encodeStreamHead(connectRequestType, head), request.end === true);
  }

  get id(): number {
    return this.#stream.id;
  }

  get closed(): boolean {
    return this.#dead || (this.#localEnded && this.#remoteEnded);
  }

  write(chunk: Buffer, last: boolean): boolean {
    if (this.#localEnded || this.#dead) return true;
    this.#localEnded = last;
    const writable = this.#stream.write(chunk, last);
    this.#link.wake();
    return writable;
  }

  /** The transport has no place for trailers. */
  end(): void {
    this.write(EMPTY, true);
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
    this.#link.wake();
  }

  reset(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#stream.reset(NO_ERROR);
    this.#stream.stopSending(NO_ERROR);
    this.#link.wake();
  }

  release(): void {}

  onData(chunk: Buffer): void {
    const reader = this.#reader;
    if (reader === undefined) {
      this.#handler.onData(chunk);
      return;
    }
    try {
      const head = reader.receive(chunk);
      this.consumed(chunk.length - (head?.rest.length ?? 0));
      if (head === undefined) return;
      if (head.kind === "rpc") throw new Error("an RPC signature is no answer");
      this.#reader = undefined;
      this.#handler.onResponse(wireHead(head.message, this.#isTcp));
      if (head.rest.length > 0) this.#handler.onData(head.rest);
    } catch {
      this.reset();
      this.#handler.onCancel({ kind: "protocol-error", code: NO_ERROR });
    }
  }

  onEnd(): void {
    this.#remoteEnded = true;
    if (this.#reader === undefined) this.#handler.onEnd([]);
    else this.#cancel();
  }

  onReset(): void {
    this.#cancel();
  }

  onStopSending(): void {
    // The answer is complete, or will be: the connector wants no more of the request.
    this.#localEnded = true;
    this.#handler.onWritable();
  }

  onWritable(): void {
    this.#handler.onWritable();
  }

  onEvicted(): void {
    this.#dead = true;
    this.#handler.onCancel({ kind: "memory-limit" });
  }

  onClosed(): void {
    this.#dead = true;
    this.#handler.onCancel({ kind: "connection-closed" });
  }

  #cancel(): void {
    this.#dead = true;
    this.#stream.reset(NO_ERROR);
    this.#link.wake();
    this.#handler.onCancel({ kind: "peer-reset", code: NO_ERROR });
  }
}

function connectRequest({ method = "GET", authority, path = "/", fields = [], end }: StreamRequest): ConnectRequest {
  const named = (wanted: string): string | undefined => fields.find(([name]) => name === wanted)?.[1];
  if (named(PROXY_SRC) !== undefined) {
    const ray = named("cf-ray");
    const metadata = ray === undefined ? [] : [{ key: "FlowID", val: ray }];
    return { dest: authority, type: CONNECTION_TYPE_TCP, metadata };
  }
  const isWebSocket = named(UPGRADE) === "websocket";
  const headers: HeaderField[] = [];
  for (const [name, value] of fields) if (name !== UPGRADE) headers.push(new HeaderField(name, value));
  // A connector drops a body that nothing tells of (wire § 5.4).
  if (!isWebSocket && end !== true && named("content-length") === undefined && !["GET", "HEAD"].includes(method)) {
    headers.push(new HeaderField("transfer-encoding", "chunked"));
  }
  return {
    dest: `https://${authority}${path}`,
    type: isWebSocket ? CONNECTION_TYPE_WEBSOCKET : CONNECTION_TYPE_HTTP,
    metadata: httpMetadata(method, authority, headers),
  };
}

function wireHead(response: ConnectResponse, isTcp: boolean): WireHead {
  const answer = readConnectResponse(response);
  if (answer.kind === "error") {
    const { rateLimited } = answer;
    const fields = [["x-connector-error", answer.error]] as const;
    return {
      status: 502,
      fields,
      answer: { status: 502, headers: undefined, source: "cloudflared", flowRateLimited: rateLimited },
    };
  }
  const status = answer.status ?? (isTcp ? 200 : 502);
  const fields = answer.headers.map(({ name, value }) => [name, value] as const);
  return { status, fields, answer: { status, headers: fields, source: "origin", flowRateLimited: false } };
}
