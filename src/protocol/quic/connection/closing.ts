/**
 * The closing state (RFC 9000 § 10.2.1): the same CONNECTION_CLOSE again for packets that still come, ever more rarely, so that two
 * closing endpoints don't keep each other busy.
 */
export class Closing {
  readonly #datagram: Buffer | undefined;
  #received = 0;
  #answerAt = 1;
  #pending: boolean;

  /** `datagram` undefined = nothing may be sent. */
  constructor(datagram: Buffer | undefined) {
    // Where it was made, others will be.
    this.#datagram = datagram === undefined ? undefined : Buffer.from(datagram);
    this.#pending = datagram !== undefined;
  }

  get pending(): boolean {
    return this.#pending;
  }

  /** The first, second, fourth, eighth … packet is answered. */
  onReceived(): void {
    if (++this.#received < this.#answerAt) return;
    this.#answerAt *= 2;
    this.#pending = this.#datagram !== undefined;
  }

  take(): readonly Buffer[] {
    if (!this.#pending || this.#datagram === undefined) return [];
    this.#pending = false;
    return [Buffer.from(this.#datagram)];
  }
}
