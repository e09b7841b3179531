/** Puts messages together that CRYPTO frames may split: type 8 | length 24 | body. */
import { MessageType } from "./code-points.ts";
import { Alert, TlsAlertError } from "./errors.ts";
import { MAX_CERTIFICATE_MESSAGE, MAX_MESSAGE } from "./limits.ts";

const HEAD_LENGTH = 4;

export class MessageBuffer {
  readonly #head = Buffer.alloc(HEAD_LENGTH);
  #message: Buffer = this.#head;
  #length = 0;

  /** Whether a message has begun and is not whole. */
  get partial(): boolean {
    return this.#length > 0;
  }

  /** Calls `deliver` for each whole message, head and all; what it gets is its own. */
  receive(bytes: Buffer, deliver: (message: Buffer) => void): void {
    let at = 0;
    while (at < bytes.length) {
      const taken = bytes.copy(this.#message, this.#length, at);
      at += taken;
      this.#length += taken;
      if (this.#length < this.#message.length) return;
      if (this.#message === this.#head) this.#begin();
      if (this.#length === this.#message.length) {
        const message = this.#message;
        this.#message = this.#head;
        this.#length = 0;
        deliver(message);
      }
    }
  }

  #begin(): void {
    const type = this.#head[0] ?? 0;
    const length = this.#head.readUIntBE(1, 3);
    if (length > (type === MessageType.certificate ? MAX_CERTIFICATE_MESSAGE : MAX_MESSAGE)) {
      throw new TlsAlertError(Alert.illegalParameter, `handshake message ${type} with ${length} bytes is too long`);
    }
    this.#message = Buffer.allocUnsafe(HEAD_LENGTH + length);
    this.#head.copy(this.#message);
  }
}
