/** The hash over all handshake messages (RFC 8446 § 4.4.1). Which hash is known only with the suite: until then they are kept. */
import { createHash, type Hash } from "node:crypto";
import { handshakeMessage } from "./byte-writer.ts";
import { MessageType } from "./code-points.ts";
import type { HashName } from "./hkdf.ts";

export class Transcript {
  #waiting: Buffer[] = [];
  #hash: Hash | undefined;

  /** Keeps the message: it must not be changed afterwards. */
  add(message: Buffer): void {
    if (this.#hash === undefined) this.#waiting.push(message);
    else this.#hash.update(message);
  }

  /** Once is enough. */
  choose(name: HashName): void {
    if (this.#hash !== undefined) return;
    this.#hash = createHash(name);
    for (const message of this.#waiting) this.#hash.update(message);
    this.#waiting = [];
  }

  /** Before a HelloRetryRequest is added: the ClientHello's hash stands in its place. */
  retry(name: HashName): void {
    this.choose(name);
    const digest = this.digest();
    this.#hash = createHash(name).update(handshakeMessage(MessageType.messageHash, digest));
  }

  digest(): Buffer {
    if (this.#hash === undefined) throw new Error("the transcript's hash is not known yet");
    return this.#hash.copy().digest();
  }
}
