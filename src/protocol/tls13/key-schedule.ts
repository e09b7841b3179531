/**
 * RFC 8446 § 7.1, without PSK:
 *
 *   0 → Extract(0) = early → "derived" → Extract(key exchange) = handshake → "derived" → Extract(0) = master
 *   handshake → "c hs traffic", "s hs traffic"          master → "c ap traffic", "s ap traffic"
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { type HashName, hkdfExpandLabel, hkdfExtract } from "./hkdf.ts";

export interface TrafficSecrets {
  readonly client: Buffer;
  readonly server: Buffer;
}

const EMPTY = Buffer.alloc(0);

export class KeySchedule {
  readonly #hash: HashName;
  readonly #length: number;
  readonly #emptyHash: Buffer;
  #secret: Buffer;

  constructor(hash: HashName) {
    this.#hash = hash;
    this.#emptyHash = createHash(hash).digest();
    this.#length = this.#emptyHash.length;
    const zeros = Buffer.alloc(this.#length);
    this.#secret = hkdfExtract(hash, zeros, zeros);
  }

  /** `transcript` is the hash up to ServerHello. */
  handshakeSecrets(keyExchange: Buffer, transcript: Buffer): TrafficSecrets {
    this.#advance(keyExchange);
    return { client: this.#derive("c hs traffic", transcript), server: this.#derive("s hs traffic", transcript) };
  }

  /** `transcript` is the hash up to the server's Finished. */
  applicationSecrets(transcript: Buffer): TrafficSecrets {
    this.#advance(Buffer.alloc(this.#length));
    return { client: this.#derive("c ap traffic", transcript), server: this.#derive("s ap traffic", transcript) };
  }

  /** Finished (RFC 8446 § 4.4.4) of the end whose handshake secret it is. */
  finished(secret: Buffer, transcript: Buffer): Buffer {
    const key = hkdfExpandLabel(this.#hash, secret, "finished", EMPTY, this.#length);
    return createHmac(this.#hash, key).update(transcript).digest();
  }

  isFinished(secret: Buffer, transcript: Buffer, received: Buffer): boolean {
    return received.length === this.#length && timingSafeEqual(this.finished(secret, transcript), received);
  }

  #advance(input: Buffer): void {
    this.#secret = hkdfExtract(this.#hash, this.#derive("derived", this.#emptyHash), input);
  }

  #derive(label: string, context: Buffer): Buffer {
    return hkdfExpandLabel(this.#hash, this.#secret, label, context, this.#length);
  }
}
