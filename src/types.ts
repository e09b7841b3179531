/**
 * The types between the rooms (ARCHITECTURE.md). Anyone may import this file; it imports nothing but types of protocol/.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { HeaderField } from "./protocol/bytes/header-field.ts";
import type { ConnectionStats as QuicStats } from "./protocol/quic/connection/options.ts";

export type { QuicStats };

/** An ordered two-way byte stream, e.g. a connection's control stream. Handlers are assigned before the first await. */
export interface ByteChannel {
  /** Called with each chunk; the view is valid only during the call. */
  onData: (chunk: Uint8Array) => void;
  /** Called once, when the peer ended its side (no error) or the channel broke (error). */
  onEnd: (error?: Error) => void;
  /** Queues bytes; copies them. A write on a dead channel is ignored. */
  write(bytes: Uint8Array): void;
  /** Ends this side. */
  end(): void;
}

/** The datagrams of one connection: UDP sessions and ICMP (wire § 6 to § 8). */
export interface DatagramChannel {
  /** Called with each datagram; the view is valid only during the call. */
  onDatagram: (datagram: Uint8Array) => void;
  /** Keeps the bytes, which must not change any more. False when they don't go out: too many for the path, or the connection is gone. */
  send(datagram: Uint8Array): boolean;
  /** When a UDP session last carried something, by `performance.now()`: written by what serves the sessions, read by who ends the connection. */
  sessionsUsedAt?: number;
}

/** Why a connection to the edge ended, or is to be ended. */
export type CloseReason =
  | { readonly kind: "shutdown" }
  | { readonly kind: "replaced" }
  | { readonly kind: "edge-closed" }
  | { readonly kind: "error"; readonly error: Error };

export type EdgeProtocol = "http2" | "quic";

/** One connection to the edge, whatever carries it. */
export interface EdgeConnection {
  readonly connIndex: number;
  readonly protocol: EdgeProtocol;
  /** `ip:port` of the edge, IPv6 in brackets. */
  readonly remoteAddress: string;
  /** Local IP of the socket, without port. */
  readonly localAddress: string;
  /** Streams that the edge has opened and that have not ended on both sides; the control stream is not counted. */
  readonly openStreams: number;
  /** Of those, how many were broken off, by either side. */
  readonly resets: number;
  /** Milliseconds to the edge and back, smoothed on QUIC, those of the last PING on HTTP/2; undefined before the first. */
  readonly roundTripMs: number | undefined;
  /** What a QUIC connection has counted since it was opened, and its state; of value after its end, too. */
  readonly quicStats?: QuicStats;
  /** Asks the edge for a sign of life at once. */
  probe(): void;
  /** Called with true when the edge does not answer, well before the connection is given up for it, and with false when it speaks again. */
  onSilence: (silent: boolean) => void;
  /** Resolves with the control stream: on HTTP/2 once the edge has opened it, on QUIC at once. Rejects when the connection ends first. */
  control(signal?: AbortSignal): Promise<ByteChannel>;
  /** Called for each stream that the edge opens, once its head is complete. Must set `request.stream.sink` before it returns. */
  onRequest: (request: EdgeRequest) => void;
  /** Datagrams (UDP sessions, ICMP); absent on HTTP/2. */
  readonly datagrams?: DatagramChannel;
  /** Called with each stream on which the edge makes calls; QUIC only, where they don't come on the control stream. */
  onRpc?: (channel: ByteChannel) => void;
  /** Opens a stream for calls on the edge; undefined while it takes no more. QUIC only. */
  openRpc?(): ByteChannel | undefined;
  /** Resolves when the edge has said that it opens no more streams here (HTTP/2: GOAWAY); open ones go on. */
  readonly goingAway?: Promise<void>;
  /** Asks the edge to open no more streams here; open ones go on. For a connection that can't be unregistered. */
  goaway?(): void;
  /** Resolves once when the connection is gone; never rejects. */
  readonly closed: Promise<CloseReason>;
  /** Ends the connection: streams still open are cancelled. Idempotent; resolves when the socket is closed. */
  close(reason: CloseReason): Promise<void>;
}

/** Why a stream ended before its time. */
export type CancelReason =
  /** The edge reset the stream: the visitor went away. */
  | "client-abort"
  /** The connection to the edge is gone. */
  | "edge-lost"
  /** This stream held memory longest without its consumer taking anything, at the cap. */
  | "memory-limit"
  /** The edge broke the protocol on this stream. */
  | "protocol-error"
  /** The tunnel's grace period ended. */
  | "shutdown";

/** What a stream's consumer implements. One object a request; set as `EdgeStream.sink` synchronously in `onRequest`. */
export interface StreamSink {
  /** Bytes of the request body, or of the visitor's side of a splice. The view is valid only during the call, and may be overwritten. Give credit back by `consumed`. */
  onData(chunk: Buffer): void;
  /** The edge ended its side. Not called when `EdgeStream.bodyless`. */
  onEnd(trailers: readonly HeaderField[]): void;
  /** The stream is gone: nothing may be written any more, and no other handler is called. */
  onCancel(reason: CancelReason): void;
  /** After `write` returned false: there is room again. */
  onWritable(): void;
}

/** One stream that the edge opened, as its consumer sees it. */
export interface EdgeStream {
  /** The head of the request also ended it: no body follows. */
  readonly bodyless: boolean;
  sink: StreamSink;
  /** The consumer is done with `bytes` bytes that `onData` gave it: opens the stream's window again. */
  consumed(bytes: number): void;
  /** Sends the response head, once. `end` = no body follows. */
  respond(head: ResponseHead, end: boolean): void;
  /** Sends body bytes (copied before this returns). `last` ends this side with them. False = pause until `onWritable`. */
  write(chunk: Buffer, last: boolean): boolean;
  /**
   * Ends this side, with trailers if any. For HTTP requests this ends the stream even if the visitor's body is still open;
   * for WebSocket and TCP streams it is a half-close.
   */
  end(trailers?: readonly HeaderField[]): void;
  /** Breaks the stream off: before the head a 502 by the connector, after it a reset that the visitor can't take for a clean end. */
  abort(): void;
}

/** A page of the tunnel's owner, in place of an empty answer. */
export interface ErrorPage {
  readonly contentType: string;
  readonly body: Buffer;
}

/** Who made an answer (spec: response meta). */
export type ResponseSource =
  | "origin"
  | "connector"
  | "flow-limit"
  /** To the edge itself: nothing for a visitor. */
  | "to-edge";

export interface ResponseHead {
  /** 101 accepts a WebSocket upgrade; the transport maps it as the wire wants it. */
  readonly status: number;
  readonly headers: readonly HeaderField[];
  /** Length of the body in bytes, where it is known. */
  readonly contentLength: number | undefined;
  readonly source: ResponseSource;
}

interface StreamRequest {
  /** In the order received; without pseudo fields, `cf-cloudflared-proxy-connection-upgrade` and `cf-trace-id`; cookies joined; `host` dropped. */
  readonly headers: readonly HeaderField[];
  /** Host, with port if the visitor gave one. */
  readonly authority: string;
  readonly stream: EdgeStream;
}

export interface HttpRequest extends StreamRequest {
  readonly kind: "http";
  readonly method: string;
  /** Path and query as received, never normalised. */
  readonly path: string;
  /** From the request's content-length; undefined when absent. */
  readonly contentLength: number | undefined;
}

export interface WebSocketRequest extends StreamRequest {
  readonly kind: "websocket";
  readonly method: string;
  readonly path: string;
}

export interface TcpRequest extends StreamRequest {
  readonly kind: "tcp";
  /** Literal `ip:port`, not yet validated. */
  readonly destination: string;
}

/** A remote configuration. The transport has parsed the envelope; `config` is JSON from outside. */
export interface ConfigurationUpdate {
  readonly kind: "configuration";
  readonly version: number;
  readonly config: unknown;
  reply(lastAppliedVersion: number, error?: string): void;
}

/** What the edge asks for. HTTP/2 and QUIC both reduce to this; proxy/ sees nothing else. */
export type EdgeRequest = HttpRequest | WebSocketRequest | TcpRequest | ConfigurationUpdate;

/** An address of the edge. */
export interface EdgeAddress {
  readonly ip: string;
  readonly port: number;
  readonly family: 4 | 6;
}

/** How a request ended. `docs/errors.md` explains each to users. */
export type OutcomeClass =
  | "ok"
  | "client-abort"
  | "origin-refused"
  | "origin-timeout"
  | "origin-reset"
  | "origin-tls"
  | "origin-dns"
  | "origin-protocol"
  | "handler-error"
  | "no-origin"
  | "access-denied"
  | "flow-limit"
  | "bad-request"
  | "edge-lost"
  | "memory-limit"
  | "shutdown";

export type RequestPhase =
  | "match"
  | "access"
  | "dns"
  | "connect"
  | "tls"
  | "request"
  | "response-head"
  | "response-body"
  | "splice";

export interface RequestOutcome {
  readonly class: OutcomeClass;
  readonly kind: "http" | "websocket" | "tcp";
  readonly connIndex: number;
  readonly method: string;
  readonly host: string;
  readonly path: string;
  /** What the visitor got; 0 when nothing was answered. */
  readonly status: number;
  /** Where it failed; undefined when class is ok. */
  readonly phase: RequestPhase | undefined;
  readonly milliseconds: number;
  readonly error: Error | undefined;
  /** `cf-ray` of the request, where the edge gave one. */
  readonly ray: string | undefined;
  /** Index of the rule, from 0; undefined for streams of the private network. */
  readonly ingressRule: number | undefined;
}

/** Told of each request, by proxy/. Must not throw. */
export interface RequestObserver {
  started(): void;
  /** The origin of a TCP stream has taken the connection, so many milliseconds after the stream began. */
  connected?(milliseconds: number): void;
  finished(outcome: RequestOutcome): void;
}

/** Why a datagram was not passed on; cloudflared's words, and `send_failed` for what did not get onto the connection to the edge. */
export type DatagramDropReason =
  | "write_failed"
  | "write_deadline_exceeded"
  | "write_full"
  | "write_flow_unknown"
  | "read_failed"
  | "read_too_large"
  | "send_failed"
  | "malformed";

/** Told what happens to UDP sessions and ICMP, by proxy/. Must not throw. `version` is that of the datagrams, `connIndex` of the connection. */
export interface DatagramObserver {
  sessionOpened(version: 2 | 3, connIndex: number): void;
  /** `connIndex` is that of the connection which had it last. */
  sessionClosed(version: 2 | 3, connIndex: number): void;
  /** It did not come about, or ended by an error. */
  sessionFailed(version: 2 | 3, connIndex: number): void;
  /** Version 3: the edge asked again for a session that there is. */
  registrationRepeated(connIndex: number): void;
  /** Version 3: a session moved to another connection. */
  sessionMigrated(from: number, to: number): void;
  /** Version 3: the edge made a call of version 2. */
  unsupportedCall(connIndex: number, command: string): void;
  udpDropped(version: 2 | 3, connIndex: number, reason: DatagramDropReason): void;
  icmpDropped(connIndex: number, reason: DatagramDropReason): void;
  /** An echo request was passed on. */
  icmpRequest(): void;
  icmpReply(): void;
  /** A session that was refused, as too many flows are open. */
  flowRefused(): void;
  /** A session to the virtual DNS address. */
  dnsSession(): void;
}

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export type RequestListener = (request: IncomingMessage, response: ServerResponse) => unknown;
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => unknown;
export type FetchHandler = (request: Request) => Response | Promise<Response>;

/** Where requests go, validated. */
export type Origin =
  | { readonly kind: "url"; readonly url: URL }
  | { readonly kind: "unix"; readonly path: string; readonly tls: boolean }
  | { readonly kind: "server"; readonly server: Server }
  | { readonly kind: "listener"; readonly listener: RequestListener; readonly upgrade: UpgradeListener | undefined }
  | { readonly kind: "fetch"; readonly fetch: FetchHandler; readonly upgrade: UpgradeListener | undefined }
  /** A fixed empty answer: the owner's, or `unconfigured` where nothing takes requests. */
  | { readonly kind: "status"; readonly status: number; readonly unconfigured?: true };

/** What a rule names by `url` or `unix`: reached over a socket, by HTTP. */
export type WireOrigin = Extract<Origin, { kind: "url" | "unix" }>;

/** Where a rule's requests go (ingress § 5). The scheme of a `url` is http, https, ws, wss or h2c. */
export type Service =
  | Origin
  /** The first that works; see `proxy/` for when one is passed over. At least two. */
  | { readonly kind: "failover"; readonly origins: readonly WireOrigin[] }
  /** TCP over WebSocket: tcp, ssh, rdp, smb. */
  | { readonly kind: "tcp"; readonly scheme: string; readonly host: string; readonly port: number }
  /** TCP over WebSocket to the address in `Cf-Access-Jump-Destination`. */
  | { readonly kind: "bastion" }
  /** A SOCKS5 server over WebSocket. */
  | { readonly kind: "socks-proxy" }
  /** The built-in demonstration. */
  | { readonly kind: "hello-world" };

/** One rule of an ingress: requests that match both hostname and path go to its service. */
export interface IngressRule {
  /** As written: `""` and `*` are any host, `*.example.com` any depth below it. */
  readonly hostname: string;
  /** RE2 syntax, searched for in the percent-decoded path; undefined = any path. */
  readonly path: string | undefined;
  readonly service: Service;
  /** The rule's own options over the ingress's over the defaults. */
  readonly originRequest: OriginRequestOptions;
}

/** TCP streams and UDP sessions of the private network. */
export interface WarpRouting {
  /** Default 5,000. */
  readonly connectTimeoutMs: number;
  /** Default 30,000. */
  readonly tcpKeepAliveMs: number;
  /** Over all connections; default 0 = no limit. */
  readonly maxActiveFlows: number;
}

/** All that decides where a request goes, validated. The last rule matches everything. */
export interface Ingress {
  readonly rules: readonly IngressRule[];
  readonly warpRouting: WarpRouting;
}

/** Who may pass: requests carry a token of Cloudflare Access (ingress § 7.7). */
export interface AccessPolicy {
  readonly required: boolean;
  readonly teamName: string;
  readonly audTag: readonly string[];
  /** `fed` = FedRAMP. */
  readonly environment: string;
}

/** Decides on destinations of `socks-proxy`; the first that fits counts. */
export interface IpRule {
  /** CIDR. */
  readonly prefix: string;
  /** Empty = all. */
  readonly ports: readonly number[];
  readonly allow: boolean;
}

/** Removals first, then `set` replaces or adds. */
export interface HeaderEdits {
  readonly set: readonly { readonly name: string; readonly value: string }[];
  /** Lower-case names. */
  readonly remove: readonly string[];
}

/** How an origin is reached; spec: originRequest. Times in milliseconds, 0 = no limit unless said otherwise. */
export interface OriginRequestOptions {
  /** TCP or unix connect including DNS. Default 30,000. */
  readonly connectTimeoutMs: number;
  /** TLS handshake. Default 10,000. */
  readonly tlsTimeoutMs: number;
  /** TCP keep-alive period. Default 30,000; 0 = 15,000, negative = off. */
  readonly tcpKeepAliveMs: number;
  /** Default false. */
  readonly noHappyEyeballs: boolean;
  /** Idle pooled connections. Default 100; negative = no pooling. */
  readonly keepAliveConnections: number;
  /** Life of an idle pooled connection. Default 90,000. */
  readonly keepAliveTimeoutMs: number;
  /** Replaces Host; the visitor's goes to X-Forwarded-Host. */
  readonly httpHostHeader: string | undefined;
  /** SNI and expected certificate name. */
  readonly originServerName: string | undefined;
  /** PEM text added to the system's roots. */
  readonly caPool: string | undefined;
  readonly noTLSVerify: boolean;
  /** SNI and certificate name are the request's own host. Default false. */
  readonly matchSNItoHost: boolean;
  /** Requests whose length nobody stated are buffered to find it. Default false. */
  readonly disableChunkedEncoding: boolean;
  /** HTTP/2 to origins with TLS that offer it. Default false. */
  readonly http2Origin: boolean;
  /** `socks`: a `tcp` service speaks SOCKS5 with its client first. */
  readonly proxyType: "" | "socks";
  readonly ipRules: readonly IpRule[];
  readonly access: AccessPolicy | undefined;
  /** From the request's end to the response's head. Default 0. */
  readonly responseHeaderTimeoutMs: number;
  /** Without a byte in either direction, once the response has begun. Default 0. */
  readonly idleTimeoutMs: number;
  /** Taken off the front of the path, where it stands there as whole segments; begins with `/`. */
  readonly stripPrefix: string | undefined;
  /** Put before the path, after `stripPrefix`; begins with `/`. */
  readonly addPrefix: string | undefined;
  /** Of the request, on its way to the origin. */
  readonly requestHeaders: HeaderEdits;
  /** Of the response, on its way to the visitor. */
  readonly responseHeaders: HeaderEdits;
  /** PROXY protocol header with the visitor's address, before the first byte to a TCP origin. */
  readonly proxyProtocol: "v1" | "v2" | undefined;
}
