/** One end of a simulated stream: writes a pattern as fast as it may, checks the pattern that arrives. */
import type { QuicStream, QuicStreamSink } from "../../../../src/protocol/quic/streams/types.ts";
import type { StreamPlan } from "./scenario.ts";

const PATTERN_LENGTH = 251 * 64;
const valueAt = (i: number): number => (i * 7 + (i >> 8)) % 251;
const PATTERN = Buffer.from(Array.from({ length: PATTERN_LENGTH + 65_536 }, (_, i) => valueAt(i % PATTERN_LENGTH)));

/** What stands at `offset` of a stream. */
function patternOf(id: number, offset: number, length: number): Buffer {
  const start = (id * 31 + offset) % PATTERN_LENGTH;
  return PATTERN.subarray(start, start + length);
}

export const RESET_CODE = 77;
export const STOP_CODE = 78;

export interface StreamHost {
  /** Something may have to be sent now. */
  touch(): void;
  later(delay: number, action: () => void): void;
  fail(what: string): never;
}

export class StreamEnd implements QuicStreamSink {
  readonly stream: QuicStream;
  readonly #host: StreamHost;
  readonly #plan: StreamPlan;
  readonly #isOpener: boolean;
  readonly #toSend: number;
  readonly #toReceive: number;
  #written = 0;
  #sendDone: boolean;
  #received = 0;
  #receiveDone: boolean;
  #isReset = false;
  #isStopped = false;
  #isWriting = false;
  /** All is written but the end. */
  #isEnding = false;

  constructor(stream: QuicStream, plan: StreamPlan, isOpener: boolean, host: StreamHost) {
    this.stream = stream;
    this.#plan = plan;
    this.#isOpener = isOpener;
    this.#host = host;
    this.#toSend = isOpener ? plan.forward : plan.back;
    this.#toReceive = isOpener ? plan.back : plan.forward;
    this.#sendDone = !isOpener && !plan.bidirectional;
    this.#receiveDone = isOpener && !plan.bidirectional;
    stream.sink = this;
    if (!isOpener && plan.stopAfter === 0) this.#stop();
    this.#write();
  }

  get done(): boolean {
    return this.#sendDone && this.#receiveDone;
  }

  get what(): string {
    const sent = this.#sendDone ? "all" : `${this.#written} of ${this.#toSend}`;
    const received = this.#receiveDone ? "all" : `${this.#received} of ${this.#toReceive}`;
    return `stream ${this.stream.id}: sent ${sent}, received ${received}`;
  }

  #write(): void {
    if (this.#isWriting) return this.#host.fail(`${this.what}: onWritable within write`);
    this.#isWriting = true;
    const { chunk, finAfter, resetAfter } = this.#plan;
    while (!this.#sendDone && !this.#isEnding) {
      this.#host.touch();
      if (this.#isOpener && resetAfter !== undefined && this.#written >= resetAfter) {
        this.#sendDone = true;
        this.stream.reset(RESET_CODE);
        break;
      }
      const length = Math.min(chunk, this.#toSend - this.#written);
      const bytes = patternOf(this.stream.id, this.#written, length);
      this.#written += length;
      const isLast = this.#written === this.#toSend;
      const fin = isLast && finAfter === undefined;
      const more = this.stream.write(bytes, fin);
      if (fin) this.#sendDone = true;
      else if (isLast) {
        this.#isEnding = true;
        this.#host.later(finAfter ?? 0, () => this.#end());
      }
      if (!more) break;
    }
    this.#isWriting = false;
  }

  /** With a frame of its own, if the last bytes have left. */
  #end(): void {
    if (this.#sendDone) return;
    this.#sendDone = true;
    this.stream.write(Buffer.alloc(0), true);
    this.#host.touch();
  }

  #stop(): void {
    this.#receiveDone = true;
    this.stream.stopSending(STOP_CODE);
    this.#host.touch();
  }

  onData(chunk: Buffer): void {
    if (this.#receiveDone) this.#host.fail(`${this.what}: data after its end`);
    if (!patternOf(this.stream.id, this.#received, chunk.length).equals(chunk)) {
      this.#host.fail(`${this.what}: wrong bytes at ${this.#received}`);
    }
    this.#received += chunk.length;
    if (this.#received > this.#toReceive) this.#host.fail(`${this.what}: more than was sent`);
    const { stopAfter, consumeAfter } = this.#plan;
    const { length } = chunk;
    if (!this.#isOpener && stopAfter !== undefined && this.#received >= stopAfter) {
      this.#stop();
      return;
    }
    if (consumeAfter === 0) {
      this.stream.consumed(length);
      this.#host.touch();
      return;
    }
    this.#host.later(consumeAfter, () => {
      this.stream.consumed(length);
      this.#host.touch();
    });
  }

  onEnd(): void {
    if (this.#receiveDone) this.#host.fail(`${this.what}: its end came twice`);
    this.#receiveDone = true;
    if (this.#received !== this.#toReceive) this.#host.fail(`${this.what}: ended too early`);
  }

  onReset(errorCode: number): void {
    if (this.#receiveDone || this.#isReset) this.#host.fail(`${this.what}: reset after its end`);
    this.#isReset = true;
    this.#receiveDone = true;
    // By its opener's plan; or because it was told to stop, which is then not told of.
    const expected = !this.#isOpener && this.#plan.resetAfter !== undefined;
    if (!expected || errorCode !== RESET_CODE) this.#host.fail(`${this.what}: reset with ${errorCode}`);
  }

  onStopSending(errorCode: number): void {
    if (this.#isStopped) this.#host.fail(`${this.what}: told to stop twice`);
    this.#isStopped = true;
    this.#sendDone = true;
    const expected = this.#isOpener && this.#plan.stopAfter !== undefined;
    if (!expected || errorCode !== STOP_CODE) this.#host.fail(`${this.what}: told to stop with ${errorCode}`);
  }

  onWritable(): void {
    this.#write();
  }

  onEvicted(): void {
    this.#host.fail(`${this.what}: evicted`);
  }
}
