/** Key exchange (RFC 8446 §§ 4.2.7, 4.2.8). X25519MLKEM768 joins both secrets: ML-KEM's first, then X25519's. */
import { createECDH, createPublicKey, diffieHellman, generateKeyPairSync } from "node:crypto";
import { Alert, TlsAlertError } from "./errors.ts";
import type { MlKem } from "./ml-kem.ts";

export type NamedGroup = "X25519MLKEM768" | "X25519" | "P-256";

const CODE_POINTS: Readonly<Record<NamedGroup, number>> = { X25519MLKEM768: 0x11ec, X25519: 0x001d, "P-256": 0x0017 };

/** As cloudflared offers them (wire § 3). */
const DEFAULT_GROUPS: readonly NamedGroup[] = ["X25519MLKEM768", "P-256"];

const X25519_LENGTH = 32;
const P256_LENGTH = 65;
const ENCAPSULATION_KEY_LENGTH = 1184;
const CIPHERTEXT_LENGTH = 1088;

/** SubjectPublicKeyInfo of an X25519 key up to its 32 bytes (RFC 8410). */
const X25519_SPKI_HEAD = Buffer.from("302a300506032b656e032100", "hex");

/** A client's half. `agree` takes the server's share. */
export interface KeyShare {
  readonly group: NamedGroup;
  readonly publicBytes: Buffer;
  agree(peer: Buffer): Buffer;
}

export interface Agreement {
  /** The server's share. */
  readonly publicBytes: Buffer;
  readonly secret: Buffer;
}

export function groupCodePoint(group: NamedGroup): number {
  return CODE_POINTS[group];
}

/** Those that are wanted and that can be had. */
export function usableGroups(
  wanted: readonly NamedGroup[] | undefined,
  mlKem: MlKem | undefined,
): readonly NamedGroup[] {
  const groups = (wanted ?? DEFAULT_GROUPS).filter((group) => group !== "X25519MLKEM768" || mlKem !== undefined);
  if (groups.length === 0) {
    throw new TlsAlertError(
      Alert.handshakeFailure,
      "no group for the key exchange can be used: X25519MLKEM768 needs ML-KEM",
    );
  }
  return groups;
}

export function createKeyShare(group: NamedGroup, mlKem: MlKem | undefined): KeyShare {
  switch (group) {
    case "X25519":
      return x25519Share();
    case "P-256":
      return p256Share();
    case "X25519MLKEM768":
      return hybridShare(required(mlKem));
    default:
      return group satisfies never;
  }
}

function hybridShare(mlKem: MlKem): KeyShare {
  const group = "X25519MLKEM768";
  const pair = mlKem.generateKeyPair();
  const classic = x25519Share();
  return {
    group,
    publicBytes: Buffer.concat([pair.publicKey, classic.publicBytes]),
    agree(peer) {
      expectLength(peer, CIPHERTEXT_LENGTH + X25519_LENGTH, group);
      const secret = guarded(group, () => pair.decapsulate(peer.subarray(0, CIPHERTEXT_LENGTH)));
      return Buffer.concat([secret, classic.agree(peer.subarray(CIPHERTEXT_LENGTH))]);
    },
  };
}

/** The server's half: answers a client's share. */
export function answerKeyShare(group: NamedGroup, peer: Buffer, mlKem: MlKem | undefined): Agreement {
  if (group !== "X25519MLKEM768") {
    const share = createKeyShare(group, undefined);
    return { publicBytes: share.publicBytes, secret: share.agree(peer) };
  }
  expectLength(peer, ENCAPSULATION_KEY_LENGTH + X25519_LENGTH, group);
  const kem = required(mlKem);
  const { ciphertext, secret } = guarded(group, () => kem.encapsulate(peer.subarray(0, ENCAPSULATION_KEY_LENGTH)));
  const classic = x25519Share();
  const classicSecret = classic.agree(peer.subarray(ENCAPSULATION_KEY_LENGTH));
  return {
    publicBytes: Buffer.concat([ciphertext, classic.publicBytes]),
    secret: Buffer.concat([secret, classicSecret]),
  };
}

function x25519Share(): KeyShare {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  return {
    group: "X25519",
    publicBytes: publicKey.export({ type: "spki", format: "der" }).subarray(X25519_SPKI_HEAD.length),
    agree(peer) {
      expectLength(peer, X25519_LENGTH, "X25519");
      const secret = guarded("X25519", () => {
        const key = Buffer.concat([X25519_SPKI_HEAD, peer]);
        return diffieHellman({ privateKey, publicKey: createPublicKey({ key, type: "spki", format: "der" }) });
      });
      // A point of small order (RFC 8446 § 7.4.2).
      if (secret.every((byte) => byte === 0)) throw unusable("X25519");
      return secret;
    },
  };
}

function p256Share(): KeyShare {
  const ecdh = createECDH("prime256v1");
  const publicBytes = ecdh.generateKeys();
  return {
    group: "P-256",
    publicBytes,
    agree(peer) {
      expectLength(peer, P256_LENGTH, "P-256");
      if (peer[0] !== 4) throw unusable("P-256");
      return guarded("P-256", () => ecdh.computeSecret(peer));
    },
  };
}

function expectLength(share: Buffer, length: number, group: NamedGroup): void {
  if (share.length !== length) throw unusable(group);
}

function guarded<T>(group: NamedGroup, step: () => T): T {
  try {
    return step();
  } catch (cause) {
    throw unusable(group, { cause });
  }
}

function unusable(group: NamedGroup, options?: { cause?: unknown }): TlsAlertError {
  return new TlsAlertError(Alert.illegalParameter, `the peer's key share for ${group} is no valid key`, options);
}

function required(mlKem: MlKem | undefined): MlKem {
  if (mlKem === undefined) throw new TlsAlertError(Alert.handshakeFailure, "X25519MLKEM768 needs ML-KEM");
  return mlKem;
}
