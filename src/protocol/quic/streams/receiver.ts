/**
 * What the peer may send, and what becomes of it (RFC 9000 §§ 2.2, 3.2, 4). The connection's window follows arrival, so that a
 * stalled stream never stops the others; a stream's window follows its consumer. What streams hold counts against the memory
 * budget; while that is pressed, no window runs further ahead than a small one.
 */
import type { Budget } from "../../memory-budget/budget.ts";
import { PRESSED_STREAM_WINDOW } from "../../memory-budget/limits.ts";
import { TransportError, TransportErrorCode } from "../errors.ts";
import { FrameType } from "../frames.ts";
import { MAX_STREAM_PIECES, STREAM_WINDOW, WINDOW_ROUND_TRIPS } from "../limits.ts";
import { MAX_VARINT } from "../varint.ts";
import { type Control, Want } from "./control.ts";
import { Reassembly } from "./reassembly.ts";
import type { ReceiveSide } from "./receive-side.ts";
import type { Stream } from "./stream.ts";

/** What streams need to know of time and the path. */
export interface StreamClock {
  readonly now: number;
  /** Smoothed, in milliseconds. */
  readonly roundTrip: number;
}

export interface ReceiverOptions {
  readonly budget: Budget;
  readonly clock: StreamClock;
  readonly control: Control;
  /** The connection's window. */
  readonly connectionWindow: number;
  /** The largest that a stream's window grows to. */
  readonly maxStreamWindow: number;
  /** The receiving side is over. */
  readonly onDone: (stream: Stream) => void;
}

function finalSizeError(reason: string): TransportError {
  return new TransportError(TransportErrorCode.FINAL_SIZE_ERROR, reason);
}

export class Receiver {
  readonly #budget: Budget;
  readonly #clock: StreamClock;
  readonly #control: Control;
  readonly #window: number;
  readonly #maxStreamWindow: number;
  readonly #onDone: (stream: Stream) => void;
  /** On all streams, gaps included. */
  #arrived = 0;
  /** MAX_DATA. */
  #limit: number;

  constructor(options: ReceiverOptions) {
    this.#budget = options.budget;
    this.#clock = options.clock;
    this.#control = options.control;
    this.#window = options.connectionWindow;
    this.#limit = options.connectionWindow;
    this.#maxStreamWindow = options.maxStreamWindow;
    this.#onDone = options.onDone;
  }

  get limit(): number {
    return this.#limit;
  }

  onStream(stream: Stream, side: ReceiveSide, offset: number, bytes: Buffer, fin: boolean): void {
    const end = offset + bytes.length;
    this.#checkFinalSize(side, end, fin ? end : undefined);
    this.#advance(side, end);
    if (fin) side.finalSize = end;
    if (side.state === "receiving") this.#take(stream, side, offset, end, bytes);
    else if (side.state === "discarding" && fin) this.#done(stream, side);
  }

  onReset(stream: Stream, side: ReceiveSide, errorCode: number, finalSize: number): void {
    this.#checkFinalSize(side, finalSize, finalSize);
    this.#advance(side, finalSize);
    side.finalSize = finalSize;
    if (side.state === "done") return;
    const tell = side.state === "receiving";
    this.#drop(stream, side);
    this.#done(stream, side);
    if (tell) stream.sink.onReset(errorCode);
  }

  /** The consumer has taken `bytes`. After the end of the stream that only settles the budget. */
  consumed(stream: Stream, side: ReceiveSide, bytes: number): void {
    const taken = this.#budget.giveContent(stream, Math.min(bytes, side.delivered - side.consumed));
    side.consumed += taken;
    if (taken > 0 && side.state === "receiving" && side.finalSize === undefined) this.#credit(stream, side);
  }

  /** Whatever comes of it counts against the budget, as all that nobody has taken. */
  widen(stream: Stream, side: ReceiveSide, window: number): void {
    if (window <= side.window || side.state !== "receiving" || side.finalSize !== undefined) return;
    side.window = window;
    side.limit = Math.max(side.limit, Math.min(MAX_VARINT, side.consumed + window));
    this.#control.want(stream, Want.MAX_STREAM_DATA);
  }

  /** STOP_SENDING. */
  stop(stream: Stream, side: ReceiveSide, errorCode: number): void {
    if (side.state !== "receiving") return;
    this.#drop(stream, side);
    if (side.finalSize !== undefined) {
      this.#done(stream, side);
      return;
    }
    side.state = "discarding";
    side.stopCode = errorCode;
    this.#control.want(stream, Want.STOP_SENDING);
  }

  #checkFinalSize(side: ReceiveSide, end: number, finalSize: number | undefined): void {
    if (side.finalSize !== undefined) {
      if (end > side.finalSize) throw finalSizeError("data behind the end of a stream");
      if (finalSize !== undefined && finalSize !== side.finalSize)
        throw finalSizeError("a stream's final size changed");
    } else if (finalSize !== undefined && finalSize < side.highest) {
      throw finalSizeError("a stream ends before what it carried already");
    }
  }

  /** Flow control (§ 4.1). Ours to check, also of streams whose content nobody wants. */
  #advance(side: ReceiveSide, end: number): void {
    if (end <= side.highest) return;
    if (end > side.limit) {
      throw new TransportError(TransportErrorCode.FLOW_CONTROL_ERROR, "more than a stream's window allows");
    }
    this.#arrived += end - side.highest;
    side.highest = end;
    if (this.#arrived > this.#limit) {
      throw new TransportError(TransportErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window allows");
    }
    const wanted = Math.min(MAX_VARINT, this.#arrived + this.#window);
    if (wanted - this.#limit < this.#window / 4) return;
    this.#limit = wanted;
    this.#control.wantLimit(FrameType.MAX_DATA);
  }

  #take(stream: Stream, side: ReceiveSide, offset: number, end: number, bytes: Buffer): void {
    if (end > side.delivered) {
      if (offset <= side.delivered) this.#inOrder(stream, side, offset, end, bytes);
      else this.#keep(stream, side, offset, bytes);
    }
    if (side.state !== "receiving" || side.delivered !== side.finalSize) return;
    this.#done(stream, side);
    stream.sink.onEnd();
  }

  #inOrder(stream: Stream, side: ReceiveSide, offset: number, end: number, bytes: Buffer): void {
    const { pieces, delivered } = side;
    const to = pieces === undefined ? end : Math.min(end, pieces.start);
    if (to < end) this.#keep(stream, side, to, bytes.subarray(to - offset));
    if (side.state !== "receiving") return;
    this.#budget.holdContent(stream, to - delivered);
    // Memory may have been so short that this stream was given up.
    if (side.state !== "receiving") return;
    side.delivered = to;
    stream.sink.onData(bytes.subarray(delivered - offset, to - offset));
    if (pieces !== undefined) this.#drain(stream, side, pieces);
  }

  #drain(stream: Stream, side: ReceiveSide, pieces: Reassembly): void {
    while (side.state === "receiving") {
      const piece = pieces.take(side.delivered);
      if (piece === undefined) break;
      side.delivered += piece.length;
      stream.sink.onData(piece);
    }
    if (pieces.count === 0) side.pieces = undefined;
  }

  #keep(stream: Stream, side: ReceiveSide, offset: number, bytes: Buffer): void {
    const pieces = (side.pieces ??= new Reassembly());
    const added = pieces.insert(offset, bytes);
    if (added > 0) this.#budget.holdContent(stream, added);
    if (pieces.count > MAX_STREAM_PIECES && side.state === "receiving") stream.evict();
  }

  /** Lets the peer send more, once it is worth a frame. */
  #credit(stream: Stream, side: ReceiveSide): void {
    if (side.consumed + side.window - side.limit < side.window / 4) return;
    const { pressed } = this.#budget;
    if (!pressed) this.#tune(side);
    const window = pressed ? Math.min(PRESSED_STREAM_WINDOW, side.window) : side.window;
    const wanted = Math.min(MAX_VARINT, side.consumed + window);
    if (wanted - side.limit < window / 4) return;
    side.limit = wanted;
    this.#control.want(stream, Want.MAX_STREAM_DATA);
  }

  /** The window grows to the usual one once a quarter of the first was taken, then doubles as long as it could hold the peer up. */
  #tune(side: ReceiveSide): void {
    const { now, roundTrip } = this.#clock;
    const taken = side.consumed - side.measuredFrom;
    if (side.window < STREAM_WINDOW) {
      side.window = Math.max(side.window, Math.min(STREAM_WINDOW, this.#maxStreamWindow));
    } else if (now - side.measuredAt < (WINDOW_ROUND_TRIPS * roundTrip * taken) / side.window) {
      side.window = Math.max(side.window, Math.min(2 * side.window, this.#maxStreamWindow));
    }
    side.measuredAt = now;
    side.measuredFrom = side.consumed;
  }

  #drop(stream: Stream, side: ReceiveSide): void {
    side.pieces = undefined;
    this.#budget.giveContent(stream, Number.POSITIVE_INFINITY);
  }

  #done(stream: Stream, side: ReceiveSide): void {
    side.state = "done";
    this.#onDone(stream);
  }
}
