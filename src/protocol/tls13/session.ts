/** TLS 1.3 as QUIC carries it (RFC 8446, RFC 9001 § 4): handshake messages in and out, by encryption level; no records. */

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
  | { readonly kind: "complete"; readonly alpn: string; readonly group: string; readonly suite: CipherSuite };

/** Throws TlsAlertError on a fatal failure. */
export interface TlsSession {
  /** Client: its ClientHello; server: nothing. */
  start(): readonly TlsEvent[];
  /** Handshake bytes in order; messages may be split or stand together. */
  receive(level: EncryptionLevel, bytes: Buffer): readonly TlsEvent[];
}
