/** Serialises frames (RFC 9113 § 6; the header's layout is in frames.ts) into the output. */
import { Flag, FRAME_HEADER_SIZE, FrameType, MIN_MAX_FRAME_SIZE, PREFACE } from "./frames.ts";
import { floodError } from "./errors.ts";
import { MAX_UNREAD_CONTROL_FRAMES } from "./limits.ts";
import type { Output } from "./output.ts";

export class FrameWriter {
  readonly #output: Output;
  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  maxFrameSize = MIN_MAX_FRAME_SIZE;
  /** Answers to control frames since the socket last took anything. */
  #unreadControl = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  /** The socket took output. */
  taken(): void {
    this.#unreadControl = 0;
  }

  /** Throws when the peer makes us answer and does not read the answers. */
  checkUnread(): void {
    if (this.#unreadControl > MAX_UNREAD_CONTROL_FRAMES) {
      throw floodError("the peer makes us answer control frames and does not read the answers");
    }
  }

  preface(): void {
    this.#output.append(PREFACE, 0, PREFACE.length);
    this.#output.commit();
  }

  /** DATA with the payload `source` from `start` to `end`. */
  data(streamId: number, source: Buffer, start: number, end: number, endStream: boolean): void {
    this.#header(end - start, FrameType.DATA, endStream ? Flag.END_STREAM : 0, streamId, 0);
    this.#output.append(source, start, end);
    this.#output.commit();
  }

  emptyData(streamId: number): void {
    this.#header(0, FrameType.DATA, Flag.END_STREAM, streamId, 0);
    this.#output.commit();
  }

  /** HEADERS, and CONTINUATIONs right behind it where the block is larger than a frame. */
  headers(streamId: number, block: Buffer, endStream: boolean): void {
    const { maxFrameSize } = this;
    const last = block.length <= maxFrameSize;
    let end = last ? block.length : maxFrameSize;
    const flags = (endStream ? Flag.END_STREAM : 0) | (last ? Flag.END_HEADERS : 0);
    this.#header(end, FrameType.HEADERS, flags, streamId, 0);
    this.#output.append(block, 0, end);
    while (end < block.length) {
      const start = end;
      end = Math.min(block.length, start + maxFrameSize);
      this.#header(end - start, FrameType.CONTINUATION, end === block.length ? Flag.END_HEADERS : 0, streamId, 0);
      this.#output.append(block, start, end);
    }
    this.#output.commit();
  }

  reset(streamId: number, code: number): void {
    const at = this.#header(4, FrameType.RST_STREAM, 0, streamId, 4);
    this.#uint32(at, code);
    this.#answered();
  }

  windowUpdate(streamId: number, increment: number): void {
    const at = this.#header(4, FrameType.WINDOW_UPDATE, 0, streamId, 4);
    this.#uint32(at, increment);
    this.#output.commit();
  }

  settings(entries: readonly (readonly [id: number, value: number])[]): void {
    let at = this.#header(6 * entries.length, FrameType.SETTINGS, 0, 0, 6 * entries.length);
    for (const [id, value] of entries) {
      this.#output.buffer[at] = id >>> 8;
      this.#output.buffer[at + 1] = id;
      this.#uint32(at + 2, value);
      at += 6;
    }
    this.#output.commit();
  }

  settingsAck(): void {
    this.#header(0, FrameType.SETTINGS, Flag.ACK, 0, 0);
    this.#answered();
  }

  /** Our own PING: `number` comes back in its acknowledgement. */
  ping(number: number): void {
    const at = this.#header(8, FrameType.PING, 0, 0, 8);
    this.#uint32(at, 0);
    this.#uint32(at + 4, number);
    this.#output.commit();
  }

  pingAck(payload: Buffer, start: number): void {
    const at = this.#header(8, FrameType.PING, Flag.ACK, 0, 8);
    payload.copy(this.#output.buffer, at, start, start + 8);
    this.#answered();
  }

  /** `reason` is for the peer's log. */
  goaway(lastStreamId: number, code: number, reason: string): void {
    const debug = Buffer.from(reason, "latin1");
    const at = this.#header(8 + debug.length, FrameType.GOAWAY, 0, 0, 8);
    this.#uint32(at, lastStreamId);
    this.#uint32(at + 4, code);
    this.#output.append(debug, 0, debug.length);
    this.#output.commit();
  }

  #answered(): void {
    this.#unreadControl++;
    this.#output.commit();
  }

  /** Writes a frame header and makes room for `room` bytes behind it, in one piece; returns where they begin. */
  #header(length: number, type: number, flags: number, streamId: number, room: number): number {
    const at = this.#output.reserve(FRAME_HEADER_SIZE + room);
    const { buffer } = this.#output;
    buffer[at] = length >>> 16;
    buffer[at + 1] = length >>> 8;
    buffer[at + 2] = length;
    buffer[at + 3] = type;
    buffer[at + 4] = flags;
    this.#uint32(at + 5, streamId);
    return at + FRAME_HEADER_SIZE;
  }

  #uint32(at: number, value: number): void {
    const { buffer } = this.#output;
    buffer[at] = value >>> 24;
    buffer[at + 1] = value >>> 16;
    buffer[at + 2] = value >>> 8;
    buffer[at + 3] = value;
  }
}
