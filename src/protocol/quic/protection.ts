/**
 * Packet protection (RFC 9001 § 5): the AEAD over payload with the header as associated data, then header protection.
 *
 *   nonce = IV xor packet number;  mask = AES-ECB(hp, sample) or ChaCha20(hp, counter = sample[0..3], nonce = sample[4..15]);
 *   sample = 16 bytes, 4 bytes behind where the packet number begins.
 */
import {
  type Cipher,
  type CipherChaCha20Poly1305,
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherChaCha20Poly1305,
  type DecipherGCM,
  type KeyObject,
} from "node:crypto";
import { LONG_PROTECTED_BITS, SHORT_PROTECTED_BITS } from "./header.ts";

export const TAG_LENGTH = 16;
export const SAMPLE_LENGTH = 16;
/** From where the packet number begins. */
export const SAMPLE_OFFSET = 4;

export interface SuiteParameters {
  readonly hash: "sha256" | "sha384";
  readonly aead: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";
  readonly keyLength: 16 | 32;
  /** Packets that may be sealed under one key, and forged ones that may fail to open under all (RFC 9001 § 6.6). */
  readonly confidentialityLimit: number;
  readonly integrityLimit: number;
}

export const SUITES = {
  TLS_AES_128_GCM_SHA256: {
    hash: "sha256",
    aead: "aes-128-gcm",
    keyLength: 16,
    confidentialityLimit: 2 ** 23,
    integrityLimit: 2 ** 52,
  },
  TLS_AES_256_GCM_SHA384: {
    hash: "sha384",
    aead: "aes-256-gcm",
    keyLength: 32,
    confidentialityLimit: 2 ** 23,
    integrityLimit: 2 ** 52,
  },
  TLS_CHACHA20_POLY1305_SHA256: {
    hash: "sha256",
    aead: "chacha20-poly1305",
    keyLength: 32,
    // More than packets that can be numbered; a key lasts no longer than others all the same.
    confidentialityLimit: 2 ** 52,
    integrityLimit: 2 ** 36,
  },
} as const satisfies Record<string, SuiteParameters>;

export type SuiteName = keyof typeof SUITES;

const AEAD_OPTIONS = { authTagLength: TAG_LENGTH } as const;

/** One key for one direction. */
export class PacketKey {
  readonly #aead: SuiteParameters["aead"];
  // A KeyObject: with a raw key Node 24 needs three times as long for each packet.
  readonly #key: KeyObject;
  readonly #nonce: Buffer;
  /** The IV's last 8 bytes as two numbers: what packet numbers are mixed into. */
  readonly #ivHigh: number;
  readonly #ivLow: number;

  constructor(suite: SuiteParameters, key: Buffer, iv: Buffer) {
    this.#aead = suite.aead;
    this.#key = createSecretKey(key);
    this.#nonce = Buffer.from(iv);
    this.#ivHigh = iv.readUInt32BE(4);
    this.#ivLow = iv.readUInt32BE(8);
  }

  #setNonce(packetNumber: number): Buffer {
    const nonce = this.#nonce;
    const low = (this.#ivLow ^ packetNumber) >>> 0;
    nonce[8] = low >>> 24;
    nonce[9] = low >>> 16;
    nonce[10] = low >>> 8;
    nonce[11] = low;
    const high = (this.#ivHigh ^ Math.floor(packetNumber / 0x1_0000_0000)) >>> 0;
    nonce[4] = high >>> 24;
    nonce[5] = high >>> 16;
    nonce[6] = high >>> 8;
    nonce[7] = high;
    return nonce;
  }

  #cipher(packetNumber: number): CipherGCM | CipherChaCha20Poly1305 {
    const nonce = this.#setNonce(packetNumber);
    return this.#aead === "chacha20-poly1305"
      ? createCipheriv(this.#aead, this.#key, nonce, AEAD_OPTIONS)
      : createCipheriv(this.#aead, this.#key, nonce, AEAD_OPTIONS);
  }

  #decipher(packetNumber: number): DecipherGCM | DecipherChaCha20Poly1305 {
    const nonce = this.#setNonce(packetNumber);
    return this.#aead === "chacha20-poly1305"
      ? createDecipheriv(this.#aead, this.#key, nonce, AEAD_OPTIONS)
      : createDecipheriv(this.#aead, this.#key, nonce, AEAD_OPTIONS);
  }

  /** Encrypts `bytes` from `payloadStart` to `payloadEnd` in place; the tag follows, for which there must be room. Returns the packet's end. */
  seal(packetNumber: number, bytes: Buffer, start: number, payloadStart: number, payloadEnd: number): number {
    const cipher = this.#cipher(packetNumber);
    cipher.setAAD(bytes.subarray(start, payloadStart), { plaintextLength: payloadEnd - payloadStart });
    bytes.set(cipher.update(bytes.subarray(payloadStart, payloadEnd)), payloadStart);
    cipher.final();
    bytes.set(cipher.getAuthTag(), payloadEnd);
    return payloadEnd + TAG_LENGTH;
  }

  /** The payload of a packet whose header stands unprotected from `start` to `payloadStart`; undefined when it is forged or damaged. */
  open(packetNumber: number, bytes: Buffer, start: number, payloadStart: number, end: number): Buffer | undefined {
    const tagStart = end - TAG_LENGTH;
    if (tagStart < payloadStart) return undefined;
    const decipher = this.#decipher(packetNumber);
    decipher.setAAD(bytes.subarray(start, payloadStart), { plaintextLength: tagStart - payloadStart });
    decipher.setAuthTag(bytes.subarray(tagStart, end));
    const payload = decipher.update(bytes.subarray(payloadStart, tagStart));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    return payload;
  }
}

/** The header protection key of one direction; it never changes. */
export class HeaderKey {
  readonly #key: KeyObject;
  /** AES is a block cipher that keeps no state in ECB: one object serves for all packets. */
  readonly #ecb: Cipher | undefined;

  constructor(suite: SuiteParameters, key: Buffer) {
    this.#key = createSecretKey(key);
    if (suite.aead === "chacha20-poly1305") return;
    this.#ecb = createCipheriv(suite.keyLength === 16 ? "aes-128-ecb" : "aes-256-ecb", this.#key, null);
    this.#ecb.setAutoPadding(false);
  }

  /** The masks of several samples, one behind the other: each stands where its sample does. AES needs one call for all. */
  masks(samples: Buffer): Buffer {
    if (this.#ecb !== undefined) return this.#ecb.update(samples);
    const masks = Buffer.alloc(samples.length);
    for (let at = 0; at < samples.length; at += SAMPLE_LENGTH) {
      masks.set(createCipheriv("chacha20", this.#key, samples.subarray(at, at + SAMPLE_LENGTH)).update(FIVE_ZEROS), at);
    }
    return masks;
  }

  #mask(bytes: Buffer, numberStart: number): Buffer {
    return this.masks(bytes.subarray(numberStart + SAMPLE_OFFSET, numberStart + SAMPLE_OFFSET + SAMPLE_LENGTH));
  }

  /** Protects the header of a sealed packet. */
  protect(bytes: Buffer, start: number, numberStart: number, numberLength: number): void {
    applyMask(bytes, start, numberStart, numberLength, this.#mask(bytes, numberStart), 0);
  }

  /** Unprotects in place the header of a packet that is at least 20 bytes long from `numberStart` on; returns the packet number's length. */
  unprotect(bytes: Buffer, start: number, numberStart: number): number {
    const mask = this.#mask(bytes, numberStart);
    const first = bytes[start] as number;
    const clear = first ^ ((mask[0] as number) & (first >= 0x80 ? LONG_PROTECTED_BITS : SHORT_PROTECTED_BITS));
    bytes[start] = clear;
    const numberLength = (clear & 0x03) + 1;
    for (let i = 0; i < numberLength; i++) (bytes[numberStart + i] as number) ^= mask[i + 1] as number;
    return numberLength;
  }
}

const FIVE_ZEROS = Buffer.alloc(5);

/** Protects a header by the mask that stands at `at`. */
export function applyMask(
  bytes: Buffer,
  start: number,
  numberStart: number,
  numberLength: number,
  mask: Buffer,
  at: number,
): void {
  const first = bytes[start] as number;
  bytes[start] = first ^ ((mask[at] as number) & (first >= 0x80 ? LONG_PROTECTED_BITS : SHORT_PROTECTED_BITS));
  for (let i = 0; i < numberLength; i++) (bytes[numberStart + i] as number) ^= mask[at + 1 + i] as number;
}
