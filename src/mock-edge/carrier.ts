/** What carries a connector's connection, HTTP/2 on TLS or QUIC, as the rest of the edge sees it. */
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import type { StreamCancel } from "../protocol/http2/types.ts";
import type { ByteChannel, DatagramChannel, EdgeProtocol } from "../types.ts";
import type { WireHead } from "./response-head.ts";
import type { Field } from "./visitor-fields.ts";

/** A stream that the edge opens. */
export interface StreamRequest {
  /** Default GET. */
  readonly method?: string;
  readonly authority: string;
  /** Path and query; default `/`. Left out for CONNECT, as is the scheme. */
  readonly path?: string;
  readonly fields?: readonly Field[];
  /** No body follows; default false. */
  readonly end?: boolean;
}

export interface CarriedStream {
  readonly id: number;
  /** Both sides have ended, or the stream was reset. */
  readonly closed: boolean;
  /** False = pause until onWritable. */
  write(chunk: Buffer, last: boolean): boolean;
  end(trailers?: readonly HeaderField[]): void;
  consumed(bytes: number): void;
  reset(code: number): void;
  /** After onCancel: the stream is not needed any more. */
  release(): void;
}

export interface CarriedStreamHandler {
  onResponse(head: WireHead): void;
  onData(chunk: Buffer): void;
  onEnd(trailers: readonly HeaderField[]): void;
  onCancel(cancel: StreamCancel): void;
  onWritable(): void;
}

/** The connector speaks Cap'n Proto RPC on it, as the client. */
export interface ControlStream {
  readonly channel: ByteChannel;
  /** Ends the edge's side. */
  end(): void;
  reset(code?: number): void;
}

export interface CarrierHandlers {
  /** The control stream can be had: on HTTP/2 the edge opens it, on QUIC the connector has. */
  onReady(): void;
  onPong(roundTripMs: number): void;
  /** The connection is gone; called once. */
  onClose(error: Error | undefined): void;
}

export interface Carrier {
  readonly protocol: EdgeProtocol;
  /** `ip:port` of the connector's end. */
  readonly remoteAddress: string;
  /** Where it dialled: one of the edge's hosts. */
  readonly host: string;
  readonly tlsVersion: string;
  /** How many streams the connector takes now. */
  readonly availableStreams: number;
  /** `onEnd` is called once, when the connector has ended its side or the stream is gone. */
  openControl(onEnd: () => void): ControlStream | undefined;
  open(request: StreamRequest, handler: CarriedStreamHandler): CarriedStream | undefined;
  /** A stream on which the edge calls the connector; undefined on HTTP/2, which has none. */
  openRpc(): ByteChannel | undefined;
  /** Called with each stream on which the connector calls the edge; QUIC only. */
  onRpc?: (channel: ByteChannel) => void;
  /** QUIC only. */
  readonly datagrams?: DatagramChannel;
  ping(): void;
  goaway(code: number): void;
  freeze(): void;
  thaw(): void;
  writeRaw(bytes: Uint8Array): void;
  flush(): void;
  /** Sends what is queued, then closes. */
  close(): void;
  /** Gone at once: TCP is closed, QUIC falls silent. */
  drop(): void;
  /** Gone at once, and the connector is told so: TCP is reset, QUIC answers with stateless resets. */
  reset(): void;
}
