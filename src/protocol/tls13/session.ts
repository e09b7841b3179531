/** TLS 1.3 as QUIC carries it (RFC 8446, RFC 9001 § 4): handshake messages in and out, by encryption level; no records. */
import { ClientHandshake } from "./client.ts";
import { ServerHandshake } from "./server.ts";
import type { TlsClientOptions, TlsServerOptions, TlsSession } from "./types.ts";

export type { NamedGroup } from "./groups.ts";
export type {
  CipherSuite,
  EncryptionLevel,
  TlsClientOptions,
  TlsEvent,
  TlsServerOptions,
  TlsSession,
} from "./types.ts";

export function createTlsClient(options: TlsClientOptions): TlsSession {
  return new ClientHandshake(options);
}

export function createTlsServer(options: TlsServerOptions): TlsSession {
  return new ServerHandshake(options);
}
