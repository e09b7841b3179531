/** A stream that the edge opens on QUIC (wire §§ 5.2 to 5.4): a ConnectRequest, then bytes; a ConnectResponse, then bytes. */
import { httpMetadata } from "../protocol/argotunnel/request.ts";
import { readConnectResponse } from "../protocol/argotunnel/response.ts";
import { encodeStreamHead, StreamHeadReader } from "../protocol/argotunnel/stream-head.ts";
import { HeaderField } from "../protocol/bytes/header-field.ts";
import {
  CONNECTION_TYPE_HTTP,
  CONNECTION_TYPE_TCP,
  CONNECTION_TYPE_WEBSOCKET,
  type ConnectRequest,
  type ConnectResponse,
  connectRequestType,
  connectResponseType,
} from "../protocol/capnp/connect.ts";
import type { QuicStream, QuicStreamSink } from "../protocol/quic/streams/types.ts";
import type { CarriedStream, CarriedStreamHandler, StreamRequest } from "./carrier.ts";
import type { WireHead } from "./response-head.ts";

/** The application error code of everything. */
const NO_ERROR = 0;

const EMPTY = Buffer.alloc(0);

const UPGRADE = "cf-cloudflared-proxy-connection-upgrade";
const PROXY_SRC = "cf-cloudflared-proxy-src";

interface StreamLink {
  /** There is something to send. */
  wake(): void;
}

/** A request's stream: the head goes out as a ConnectRequest, and the answer's comes as a ConnectResponse. */
export class QuicCarriedStream implements CarriedStream, QuicStreamSink {
  readonly #stream: QuicStream;
  readonly #link: StreamLink;
  readonly #handler: CarriedStreamHandler;
  readonly #isTcp: boolean;
  #reader: StreamHeadReader<ConnectResponse> | undefined = new StreamHeadReader(connectResponseType);
  #localEnded = false;
  #remoteEnded = false;
  #dead = false;

  constructor(stream: QuicStream, link: StreamLink, request: StreamRequest, handler: CarriedStreamHandler) {
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
