/**
 * The handshake's bytes of one packet number space (RFC 9000 §§ 7.5, 19.6): a stream without flow control, ids or an end. What comes
 * out of order is held up to a bound.
 */
import { TransportError, TransportErrorCode } from "./errors.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { MAX_CRYPTO_BUFFER, MAX_CRYPTO_PIECES } from "./limits.ts";
import { Outgoing } from "./streams/outgoing.ts";
import { Reassembly } from "./streams/reassembly.ts";
import type { SentFrames } from "./streams/sent-frames.ts";

export class CryptoStream {
  #delivered = 0;
  #pieces: Reassembly | undefined;
  readonly #out = new Outgoing();

  /** Hands what is next in order to `deliver`, in views. Throws CRYPTO_BUFFER_EXCEEDED when too much comes too early. */
  receive(offset: number, bytes: Buffer, deliver: (chunk: Buffer) => void): void {
    const end = offset + bytes.length;
    if (end <= this.#delivered) return;
    if (offset > this.#delivered) {
      this.#keep(offset, end, bytes);
      return;
    }
    const chunk = bytes.subarray(this.#delivered - offset);
    this.#delivered = end;
    deliver(chunk);
    for (;;) {
      const piece = this.#pieces?.take(this.#delivered);
      if (piece === undefined) break;
      if (piece.length === 0) continue;
      this.#delivered += piece.length;
      deliver(piece);
    }
    if (this.#pieces?.count === 0) this.#pieces = undefined;
  }

  write(bytes: Buffer): void {
    this.#out.append(bytes);
  }

  /** Bytes wait to be sent, or to be sent again. */
  get pending(): boolean {
    return this.#out.hasLost || this.#out.next < this.#out.end;
  }

  /** One CRYPTO frame, of what was lost first. */
  writeFrames(writer: FrameWriter, sent: SentFrames): void {
    if (!this.pending) return;
    const out = this.#out;
    const from = out.hasLost ? out.lostStart : out.next;
    const granted = writer.crypto(from, (out.hasLost ? out.lostEnd : out.end) - from);
    if (granted < 0) return;
    out.copy(writer, from, from + granted);
    out.onSent(from, from + granted);
    sent.cryptoOffset = from;
    sent.cryptoEnd = from + granted;
  }

  onFramesAcked(sent: SentFrames): void {
    if (sent.cryptoOffset >= 0) this.#out.onAcked(sent.cryptoOffset, sent.cryptoEnd);
  }

  onFramesLost(sent: SentFrames): void {
    if (sent.cryptoOffset >= 0) this.#out.onLost(sent.cryptoOffset, sent.cryptoEnd);
  }

  /** All that is not acknowledged goes out again: after a Retry, or as a probe. */
  resendAll(): void {
    this.#out.resendAll();
  }

  #keep(offset: number, end: number, bytes: Buffer): void {
    const pieces = (this.#pieces ??= new Reassembly());
    if (end - this.#delivered <= MAX_CRYPTO_BUFFER && pieces.count < MAX_CRYPTO_PIECES) {
      pieces.insert(offset, bytes);
      return;
    }
    throw new TransportError(TransportErrorCode.CRYPTO_BUFFER_EXCEEDED, "handshake messages come too far out of order");
  }
}
