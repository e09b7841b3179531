/**
 * What we let the peer send (RFC 9113 §§ 5.2, 6.9). The connection's window follows arrival, so that a stalled stream never
 * stops the others. A stream's window follows its consumer. What streams hold counts against the memory budget; while that is
 * pressed, all windows of streams are small.
 *
 * They shrink and grow by SETTINGS_INITIAL_WINDOW_SIZE, which moves the windows of open streams too (§ 6.9.2): streams that
 * have not used theirs give it back, which a WINDOW_UPDATE can't ask for. For every stream
 *
 *   receiveWindow + held + uncredited = the initial window
 *
 * so a change by some delta moves receiveWindow by that delta. A larger window counts from when we announce it, a smaller one
 * from its acknowledgement on; one change is under way at a time.
 */
import type { Budget } from "../memory-budget/budget.ts";
import { PRESSED_STREAM_WINDOW } from "../memory-budget/limits.ts";
import { flowControlError } from "./errors.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { INITIAL_WINDOW, Setting } from "./frames.ts";
import * as limits from "./limits.ts";
import type { Stream } from "./stream.ts";
import type { Http2Options } from "./types.ts";

export class Receiver {
  readonly #writer: FrameWriter;
  readonly #budget: Budget;
  readonly #streams: ReadonlyMap<number, Stream>;
  readonly #connectionWindow: number;
  readonly #largestStreamWindow: number;
  /** What the peer may send on all streams. */
  #window = INITIAL_WINDOW;
  /** Arrived and not yet credited to the connection. */
  #arrived = 0;
  /** The initial window of streams, as far as it counts here. */
  #streamWindow = INITIAL_WINDOW;
  /** The window of the SETTINGS that are not acknowledged yet. */
  #announced: number | undefined;

  constructor(options: Http2Options, writer: FrameWriter, budget: Budget, streams: ReadonlyMap<number, Stream>) {
    this.#writer = writer;
    this.#budget = budget;
    this.#streams = streams;
    this.#connectionWindow = Math.max(INITIAL_WINDOW, options.connectionWindowSize ?? limits.DEFAULT_CONNECTION_WINDOW);
    this.#largestStreamWindow = options.initialWindowSize ?? limits.DEFAULT_STREAM_WINDOW;
  }

  /** The initial window that our first SETTINGS announces. */
  announceFirst(): number {
    const window = this.#wantedWindow;
    this.#announce(window);
    return window;
  }

  /** Opens the connection's window from where every connection starts. */
  openConnection(): void {
    const increment = this.#connectionWindow - INITIAL_WINDOW;
    if (increment === 0) return;
    this.#window += increment;
    this.#writer.windowUpdate(0, increment);
  }

  /** The window of a stream that opens now. */
  get initialWindow(): number {
    return this.#streamWindow;
  }

  /** The budget got short, or is free again. False when the windows are as they should be, or a change is under way. */
  adapt(): boolean {
    const window = this.#wantedWindow;
    if (this.#announced !== undefined || window === this.#streamWindow) return false;
    this.#announce(window);
    this.#writer.settings([[Setting.INITIAL_WINDOW_SIZE, window]]);
    return true;
  }

  /** The peer acknowledged SETTINGS: a smaller window counts from now on. False when there was nothing to acknowledge. */
  acknowledged(): boolean {
    const window = this.#announced;
    if (window === undefined) return false;
    this.#announced = undefined;
    this.#adopt(window);
    return true;
  }

  /** A DATA frame begins; its length counts whatever becomes of it. */
  connectionReceives(length: number): void {
    this.#window -= length;
    if (this.#window < 0) throw flowControlError("more DATA than the connection's window allows");
    this.#arrived += length;
    if (this.#arrived < this.#connectionWindow >>> 1) return;
    this.#writer.windowUpdate(0, this.#arrived);
    this.#window += this.#arrived;
    this.#arrived = 0;
  }

  /**
   * The same for its stream. False = more than the window. A window that was taken back is not held against the peer: a sender
   * may have had its DATA ready when it acknowledged the smaller one.
   */
  streamReceives(stream: Stream, length: number): boolean {
    stream.receiveWindow -= length;
    const takenBack = Math.max(0, this.#largestStreamWindow - this.#streamWindow);
    return stream.receiveWindow + takenBack >= 0 || length === 0;
  }

  /** Content goes to its consumer. May evict streams, this one included. */
  hold(stream: Stream, bytes: number): void {
    this.#budget.holdContent(stream, bytes);
  }

  /** The consumer has taken `bytes`. After the end of the stream that only settles the budget. */
  consumed(stream: Stream, bytes: number): void {
    const taken = this.#budget.giveContent(stream, bytes);
    if (taken > 0) this.credit(stream, taken);
  }

  /** Lets the peer send `bytes` more, once it is worth a frame. */
  credit(stream: Stream, bytes: number): void {
    if (stream.closed || stream.remoteEnded) return;
    stream.uncredited += bytes;
    if (stream.uncredited >= Math.max(1, this.#streamWindow >>> 1)) this.#update(stream);
  }

  #update(stream: Stream): void {
    // What a known length still has to come fits into the window: no more is needed.
    if (stream.contentLeft >= 0 && stream.contentLeft <= stream.receiveWindow) return;
    this.#writer.windowUpdate(stream.id, stream.uncredited);
    stream.receiveWindow += stream.uncredited;
    stream.uncredited = 0;
  }

  get #wantedWindow(): number {
    return this.#budget.pressed
      ? Math.min(PRESSED_STREAM_WINDOW, this.#largestStreamWindow)
      : this.#largestStreamWindow;
  }

  #announce(window: number): void {
    this.#announced = window;
    if (window > this.#streamWindow) this.#adopt(window);
  }

  #adopt(window: number): void {
    const delta = window - this.#streamWindow;
    if (delta === 0) return;
    this.#streamWindow = window;
    for (const stream of this.#streams.values()) {
      stream.receiveWindow += delta;
      // Credit that was held back for a larger window could be all that the smaller one has.
      this.credit(stream, 0);
    }
  }
}
