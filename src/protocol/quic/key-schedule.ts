/** From TLS secrets to packet protection keys (RFC 9001 §§ 5.1, 5.2, 6.1). */
import { hkdfExpandLabel, hkdfExtract } from "../tls13/hkdf.ts";
import { HeaderKey, PacketKey, type SuiteParameters, SUITES } from "./protection.ts";

/** RFC 9001 § 5.2, of version 1. */
const INITIAL_SALT = Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex");
const IV_LENGTH = 12;
const NO_CONTEXT = Buffer.alloc(0);

/** What seals or opens the packets of one direction at one encryption level. */
export interface DirectionKeys {
  readonly packet: PacketKey;
  readonly header: HeaderKey;
}

function expand(suite: SuiteParameters, secret: Buffer, label: string, length: number): Buffer {
  return hkdfExpandLabel(suite.hash, secret, label, NO_CONTEXT, length);
}

export function derivePacketKey(suite: SuiteParameters, secret: Buffer): PacketKey {
  return new PacketKey(
    suite,
    expand(suite, secret, "quic key", suite.keyLength),
    expand(suite, secret, "quic iv", IV_LENGTH),
  );
}

export function deriveHeaderKey(suite: SuiteParameters, secret: Buffer): HeaderKey {
  return new HeaderKey(suite, expand(suite, secret, "quic hp", suite.keyLength));
}

export function deriveKeys(suite: SuiteParameters, secret: Buffer): DirectionKeys {
  return { packet: derivePacketKey(suite, secret), header: deriveHeaderKey(suite, secret) };
}

/** The secret of the next key phase. */
export function nextSecret(suite: SuiteParameters, secret: Buffer): Buffer {
  return expand(suite, secret, "quic ku", secret.length);
}

/** The keys of Initial packets: anyone who sees the client's first destination id can make them. */
export function deriveInitialKeys(destinationId: Buffer): {
  readonly client: DirectionKeys;
  readonly server: DirectionKeys;
} {
  const suite = SUITES.TLS_AES_128_GCM_SHA256;
  const secret = hkdfExtract(suite.hash, INITIAL_SALT, destinationId);
  return {
    client: deriveKeys(suite, expand(suite, secret, "client in", 32)),
    server: deriveKeys(suite, expand(suite, secret, "server in", 32)),
  };
}
