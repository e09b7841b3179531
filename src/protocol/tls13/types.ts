/** What goes into a handshake, and what comes out of it. */
import type { KeyObject, X509Certificate } from "node:crypto";
import type { NamedGroup } from "./groups.ts";
import type { MlKem } from "./ml-kem.ts";

export type EncryptionLevel = "initial" | "handshake" | "application";

export type CipherSuite = "TLS_AES_128_GCM_SHA256" | "TLS_AES_256_GCM_SHA384" | "TLS_CHACHA20_POLY1305_SHA256";

export type TlsEvent =
  /** Handshake messages for CRYPTO frames at that level, in order. */
  | { readonly kind: "send"; readonly level: EncryptionLevel; readonly bytes: Buffer }
  | {
      readonly kind: "secret";
      readonly level: "handshake" | "application";
      readonly direction: "read" | "write";
      readonly suite: CipherSuite;
      readonly secret: Buffer;
    }
  /** Extension 0x39, as it came. */
  | { readonly kind: "peer-transport-parameters"; readonly bytes: Buffer }
  /** The peer's Finished is verified. A client's own stands in a `send` before. */
  | { readonly kind: "complete"; readonly alpn: string; readonly group: NamedGroup; readonly suite: CipherSuite };

/** Throws TlsAlertError on a fatal failure; is not to be used after that. */
export interface TlsSession {
  /** Client: its ClientHello; server: nothing. */
  start(): readonly TlsEvent[];
  /** Handshake bytes in order; messages may be split or stand together. */
  receive(level: EncryptionLevel, bytes: Buffer): readonly TlsEvent[];
}

interface CommonOptions {
  /** In the order of preference; a server takes its own. */
  readonly alpn: readonly string[];
  /** Of extension 0x39. */
  readonly transportParameters: Buffer;
  readonly random: (length: number) => Buffer;
  /** In the order of preference. A client sends a key share for the first; the others take a HelloRetryRequest. */
  readonly groups?: readonly NamedGroup[];
  readonly suites?: readonly CipherSuite[];
  /** Without it X25519MLKEM768 is left out. */
  readonly mlKem?: MlKem | undefined;
}

export interface TlsClientOptions extends CommonOptions {
  /** A DNS name or an address, which the server's certificate must have. */
  readonly serverName: string;
  /** Trust anchors, at least one; a text may hold several certificates in PEM. The same list again is read but once. */
  readonly roots: readonly (string | X509Certificate)[];
  /** Now, in ms since 1970: certificates must be valid then. */
  readonly time: number;
}

export interface TlsServerOptions extends CommonOptions {
  /** DER, the leaf first. */
  readonly certificateChain: readonly Buffer[];
  readonly privateKey: KeyObject;
}
