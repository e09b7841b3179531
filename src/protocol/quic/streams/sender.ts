/**
 * What leaves (RFC 9000 §§ 3.1, 4.1, 13.3): first what was lost, then streams in turn, a frame each, so that a large answer does
 * not hold up the small ones. What was sent is kept until it is acknowledged.
 */
import type { Budget } from "../../memory-budget/budget.ts";
import type { FrameWriter } from "../frame-writer.ts";
import { FrameType } from "../frames.ts";
import { CROWDED_STREAM_UNSENT, MAX_STREAM_UNSENT, MAX_UNSENT, MIN_FRAME_ROOM } from "../limits.ts";
import { type Control, Want } from "./control.ts";
import { Outgoing } from "./outgoing.ts";
import type { SendSide } from "./send-side.ts";
import { type SentFrames, SentStreamFrame } from "./sent-frames.ts";
import type { Stream } from "./stream.ts";
import { StreamQueue } from "./stream-queue.ts";

export interface SenderOptions {
  readonly budget: Budget;
  readonly control: Control;
  /** MAX_DATA of the peer. */
  readonly limit: number;
  /** The sending side is over. */
  readonly onDone: (stream: Stream) => void;
}

export class Sender {
  readonly #budget: Budget;
  readonly #control: Control;
  readonly #onDone: (stream: Stream) => void;
  #limit: number;
  /** New bytes on all streams: what counts against the limit. */
  #sent = 0;
  /** Written to streams and never sent. */
  #unsent = 0;
  /** The limit that a DATA_BLOCKED told of. */
  #blockedAt = -1;
  /** With something that needs no credit of the connection: lost ranges, and FINs without data. */
  readonly #free = new StreamQueue(2);
  /** With new bytes that their own limit allows. */
  readonly #ready = new StreamQueue(4);
  /** Paused ones whose writer may go on. */
  readonly #resumable = new StreamQueue(8);

  constructor(options: SenderOptions) {
    this.#budget = options.budget;
    this.#control = options.control;
    this.#limit = options.limit;
    this.#onDone = options.onDone;
  }

  get pending(): boolean {
    return this.#firstOf(this.#free, hasFree) !== undefined || this.#canSendNew();
  }

  get blockedAt(): number | undefined {
    return this.#blockedAt === this.#limit ? this.#limit : undefined;
  }

  write(stream: Stream, side: SendSide, chunk: Buffer, fin: boolean): boolean {
    if (side.state !== "open") return true;
    if (chunk.length > 0) {
      (side.bytes ??= new Outgoing()).append(chunk);
      this.#unsent += chunk.length;
    }
    if (fin) side.state = "ending";
    this.#enqueue(stream, side);
    if (chunk.length > 0) {
      stream.queuedBytes += chunk.length;
      this.#budget.hold(stream, chunk.length);
    }
    if (fin || !this.#isFull(side)) return true;
    side.paused = true;
    return false;
  }

  /** RESET_STREAM (§ 3.1). */
  reset(stream: Stream, side: SendSide, errorCode: number): void {
    if (side.state !== "open" && side.state !== "ending") return;
    side.finalSize = side.bytes?.next ?? 0;
    side.state = "reset";
    side.resetCode = errorCode;
    this.#clear(stream, side);
    this.#control.want(stream, Want.RESET_STREAM);
  }

  /** The connection is gone. */
  abandon(stream: Stream, side: SendSide): void {
    side.state = "done";
    this.#clear(stream, side);
  }

  onMaxData(limit: number): void {
    if (limit > this.#limit) this.#limit = limit;
  }

  onMaxStreamData(stream: Stream, side: SendSide, limit: number): void {
    if (limit <= side.limit) return;
    side.limit = limit;
    side.blockedAt = -1;
    this.#enqueue(stream, side);
    this.#resumeIfRoom(stream, side);
  }

  /** False when the packet is full. */
  writeFrames(writer: FrameWriter, sent: SentFrames): void {
    for (let stream = this.#firstOf(this.#free, hasFree); stream; stream = this.#firstOf(this.#free, hasFree)) {
      if (!this.#writeFree(stream, stream.sending as SendSide, writer, sent)) return;
      this.#free.shift();
    }
    while (this.#canSendNew()) {
      const stream = this.#ready.first as Stream;
      const side = stream.sending as SendSide;
      if (!this.#writeNew(stream, side, writer, sent)) return;
      this.#ready.shift();
      this.#enqueue(stream, side);
      this.#resumeIfRoom(stream, side);
    }
    if (this.#sent === this.#limit && this.#blockedAt !== this.#limit && this.#firstOf(this.#ready, hasNew)) {
      this.#blockedAt = this.#limit;
      this.#control.wantLimit(FrameType.DATA_BLOCKED);
    }
  }

  /** Lets paused writers go on. What they do may come back here. */
  resumeWriters(): void {
    for (let stream = this.#resumable.shift(); stream !== undefined; stream = this.#resumable.shift()) {
      const side = stream.sending;
      if (side?.state !== "open" || !side.paused) continue;
      side.paused = false;
      stream.sink.onWritable();
    }
  }

  onAcked(stream: Stream, side: SendSide, frame: SentStreamFrame): void {
    if (side.state !== "open" && side.state !== "ending") return;
    const freed = side.bytes?.onAcked(frame.offset, frame.end) ?? 0;
    if (freed > 0) {
      stream.queuedBytes -= freed;
      this.#budget.give(stream, freed);
    }
    if (frame.fin) {
      side.finAcked = true;
      side.finLost = false;
    }
    if (!side.finAcked || (side.bytes !== undefined && side.bytes.start < side.bytes.end)) return;
    side.state = "done";
    side.bytes = undefined;
    this.#onDone(stream);
  }

  onResetAcked(stream: Stream, side: SendSide): void {
    if (side.state !== "reset") return;
    side.state = "done";
    this.#onDone(stream);
  }

  onLost(stream: Stream, side: SendSide, frame: SentStreamFrame): void {
    if (side.state !== "open" && side.state !== "ending") return;
    side.bytes?.onLost(frame.offset, frame.end);
    if (frame.fin && !side.finAcked) side.finLost = true;
    if (hasFree(side)) this.#free.push(stream);
  }

  /** What a writer may add before it is paused. */
  #isFull(side: SendSide): boolean {
    const { bytes } = side;
    if (bytes === undefined) return false;
    return bytes.end > side.limit || side.unsent >= this.#room;
  }

  get #room(): number {
    return this.#budget.pressed || this.#unsent > MAX_UNSENT ? CROWDED_STREAM_UNSENT : MAX_STREAM_UNSENT;
  }

  #resumeIfRoom(stream: Stream, side: SendSide): void {
    if (!side.paused || side.state !== "open" || this.#isFull(side)) return;
    if (side.unsent <= this.#room / 2) this.#resumable.push(stream);
  }

  #enqueue(stream: Stream, side: SendSide): void {
    if (hasNew(side)) this.#ready.push(stream);
    else if (hasFree(side)) this.#free.push(stream);
    const { bytes, limit } = side;
    if (bytes === undefined || bytes.next < limit || bytes.end <= limit || side.blockedAt === limit) return;
    side.blockedAt = limit;
    this.#control.want(stream, Want.STREAM_DATA_BLOCKED);
  }

  #canSendNew(): boolean {
    return this.#firstOf(this.#ready, hasNew) !== undefined && this.#sent < this.#limit;
  }

  /** The first stream of a queue that still has a reason to stand there. */
  #firstOf(queue: StreamQueue, hasReason: (side: SendSide) => boolean): Stream | undefined {
    for (;;) {
      const stream = queue.first;
      if (stream === undefined || (stream.sending !== undefined && hasReason(stream.sending))) return stream;
      queue.shift();
    }
  }

  /** False when something of the stream did not fit. */
  #writeFree(stream: Stream, side: SendSide, writer: FrameWriter, sent: SentFrames): boolean {
    const { bytes } = side;
    while (bytes?.hasLost === true) {
      const from = bytes.lostStart;
      const { lostEnd } = bytes;
      if (!this.#writeFrame(stream, side, from, lostEnd, writer, sent)) return false;
    }
    const end = bytes?.end ?? 0;
    return !needsBareFin(side) || this.#writeFrame(stream, side, end, end, writer, sent);
  }

  #writeNew(stream: Stream, side: SendSide, writer: FrameWriter, sent: SentFrames): boolean {
    const { bytes } = side;
    if (bytes === undefined) return true;
    const { next } = bytes;
    const to = next + Math.min(bytes.end - next, side.limit - next, this.#limit - this.#sent);
    if (to - next > writer.remaining && writer.remaining < MIN_FRAME_ROOM) return false;
    return this.#writeFrame(stream, side, next, to, writer, sent);
  }

  /** Writes as much of the range as fits. False when nothing did, or not all lost bytes. */
  #writeFrame(
    stream: Stream,
    side: SendSide,
    from: number,
    to: number,
    writer: FrameWriter,
    sent: SentFrames,
  ): boolean {
    const { bytes } = side;
    const end = bytes?.end ?? 0;
    const wantsFin = side.state === "ending" && to === end;
    const granted = writer.stream(stream.id, from, to - from, wantsFin);
    if (granted < 0) return false;
    const fin = wantsFin && granted === to - from;
    if (granted > 0 && bytes !== undefined) {
      bytes.copy(writer, from, from + granted);
      const fresh = from + granted - bytes.next;
      if (fresh > 0) {
        this.#sent += fresh;
        this.#unsent -= fresh;
      }
      bytes.onSent(from, from + granted);
    }
    if (fin) {
      side.finSent = true;
      side.finLost = false;
    }
    record(sent, stream, from, from + granted, fin);
    return true;
  }

  #clear(stream: Stream, side: SendSide): void {
    this.#unsent -= side.unsent;
    side.bytes?.release();
    side.bytes = undefined;
    side.paused = false;
    side.blockedAt = -1;
    const { queuedBytes } = stream;
    if (queuedBytes === 0) return;
    stream.queuedBytes = 0;
    this.#budget.give(stream, queuedBytes);
  }
}

/** New bytes that the stream's own limit allows. */
function hasNew(side: SendSide): boolean {
  const { bytes } = side;
  return bytes !== undefined && bytes.next < bytes.end && bytes.next < side.limit;
}

/** The FIN must go out, and no data is left that could carry it. */
function needsBareFin(side: SendSide): boolean {
  return side.state === "ending" && (!side.finSent || side.finLost) && side.unsent === 0;
}

function hasFree(side: SendSide): boolean {
  return side.bytes?.hasLost === true || needsBareFin(side);
}

function record(sent: SentFrames, stream: Stream, offset: number, end: number, fin: boolean): void {
  let frame: SentStreamFrame = sent;
  if (sent.stream !== undefined) {
    frame = new SentStreamFrame();
    frame.next = sent.next;
    sent.next = frame;
  }
  frame.stream = stream;
  frame.offset = offset;
  frame.end = end;
  frame.fin = fin;
}
