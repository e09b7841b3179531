/**
 * A mock of Cloudflare's edge on loopback, for tests and demos: connectors dial it, visitors come over HTTP, and both sides
 * can be made to fail. Exported as `underpass/mock-edge`.
 */
export type { ConnectionFilter, MockEdge, MockEdgeOptions, WaitOptions } from "./api.ts";
export type { CertificateKind } from "./certificates.ts";
export type { StreamRequest } from "./carrier.ts";
export type { Connection, ConnectionState } from "./connection.ts";
export { startMockEdge } from "./edge.ts";
export type { Fault, FaultScope } from "./faults.ts";
export type { ManagementTokenOptions } from "./management.ts";
export type { PingAnswer, PingOptions } from "./ping.ts";
export type { UdpSessionOptions } from "./private-network.ts";
export type { QuickFault } from "./quick-service.ts";
export type { Registration } from "./registration.ts";
export { type ConnectorAnswer, ConnectorAnswerError, readAnswer, type WireHead } from "./response-head.ts";
export type { IssuedTunnel } from "./tunnels.ts";
export type { UdpSession } from "./udp-session.ts";
export type { Field } from "./visitor-fields.ts";
export { type VisitorStream, VisitorStreamError } from "./visitor-stream.ts";
export { MockEdgeError, type PushResult } from "./visits.ts";
