/**
 * Writes frames (RFC 9000 § 19; the layouts stand in frame-reader.ts) into one buffer. A method returns false, and writes
 * nothing, where its frame does not fit any more.
 */
import { FRAME_TYPES, FrameType, StreamBit } from "./frames.ts";
import { STATELESS_RESET_TOKEN_LENGTH } from "./limits.ts";
import { varintSize, writeVarint } from "./varint.ts";

/** Two bytes tell every length that fits into a datagram of up to this size. */
const MAX_LENGTH_IN_2 = 0x3fff;

export class FrameWriter {
  buffer: Buffer;
  /** Where the next frame begins. */
  at = 0;
  /** What was written since `begin` must be acknowledged. */
  ackEliciting = false;
  /** All that were written, by type. */
  readonly counts = new Float64Array(FRAME_TYPES);
  #end = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  /** The payload of the next packet stands between `start` and `end`. */
  begin(start: number, end: number): void {
    this.at = start;
    this.#end = end;
    this.ackEliciting = false;
  }

  get remaining(): number {
    return this.#end - this.at;
  }

  padding(length: number): boolean {
    if (length > this.remaining) return false;
    this.buffer.fill(0, this.at, this.at + length);
    this.at += length;
    return true;
  }

  ping(): boolean {
    return this.#numbers(FrameType.PING, 0, 0, 0, 0);
  }

  /**
   * An ACK of the newest ranges that fit. `ranges` has `count` pairs of the smallest and the largest packet number, newest first;
   * `delay` is scaled by our ack_delay_exponent already.
   */
  ack(ranges: Float64Array, count: number, delay: number): boolean {
    const smallest = ranges[0] as number;
    const largest = ranges[1] as number;
    let size = 1 + varintSize(largest) + varintSize(delay) + varintSize(count - 1) + varintSize(largest - smallest);
    if (size > this.remaining) return false;
    let taken = 1;
    while (taken < count) {
      const gap = (ranges[2 * taken - 2] as number) - (ranges[2 * taken + 1] as number) - 2;
      const length = (ranges[2 * taken + 1] as number) - (ranges[2 * taken] as number);
      size += varintSize(gap) + varintSize(length);
      if (size > this.remaining) break;
      taken++;
    }
    const { buffer } = this;
    this.#count(FrameType.ACK);
    buffer[this.at] = FrameType.ACK;
    let at = writeVarint(buffer, this.at + 1, largest);
    at = writeVarint(buffer, at, delay);
    at = writeVarint(buffer, at, taken - 1);
    at = writeVarint(buffer, at, largest - smallest);
    for (let i = 1; i < taken; i++) {
      at = writeVarint(buffer, at, (ranges[2 * i - 2] as number) - (ranges[2 * i + 1] as number) - 2);
      at = writeVarint(buffer, at, (ranges[2 * i + 1] as number) - (ranges[2 * i] as number));
    }
    this.at = at;
    return true;
  }

  resetStream(id: number, errorCode: number, finalSize: number): boolean {
    return this.#numbers(FrameType.RESET_STREAM, 3, id, errorCode, finalSize);
  }

  stopSending(id: number, errorCode: number): boolean {
    return this.#numbers(FrameType.STOP_SENDING, 2, id, errorCode, 0);
  }

  /**
   * The head of a CRYPTO frame for up to `length` bytes. Returns how many it is for, which the caller appends at once, or -1 when
   * not one fits.
   */
  crypto(offset: number, length: number): number {
    const granted = this.#grant(1 + varintSize(offset), length);
    if (granted <= 0) return -1;
    const { buffer } = this;
    this.#count(FrameType.CRYPTO);
    buffer[this.at] = FrameType.CRYPTO;
    this.at = writeVarint(buffer, writeVarint(buffer, this.at + 1, offset), granted);
    this.ackEliciting = true;
    return granted;
  }

  newToken(token: Buffer): boolean {
    return this.#bytes(FrameType.NEW_TOKEN, token);
  }

  /**
   * The head of a STREAM frame for up to `length` bytes. Returns how many it is for, which the caller appends at once, or -1 when
   * not one fits (with `length` 0: when the head does not fit). FIN is set only if all `length` bytes fit.
   */
  stream(id: number, offset: number, length: number, fin: boolean): number {
    const granted = this.#grant(1 + varintSize(id) + (offset > 0 ? varintSize(offset) : 0), length);
    if (granted < 0 || (granted === 0 && length > 0)) return -1;
    const { buffer } = this;
    const bits = StreamBit.LEN | (offset > 0 ? StreamBit.OFF : 0) | (fin && granted === length ? StreamBit.FIN : 0);
    this.#count(FrameType.STREAM);
    buffer[this.at] = FrameType.STREAM | bits;
    let at = writeVarint(buffer, this.at + 1, id);
    if (offset > 0) at = writeVarint(buffer, at, offset);
    this.at = writeVarint(buffer, at, granted);
    this.ackEliciting = true;
    return granted;
  }

  /** The data of the CRYPTO or STREAM frame whose head was written last, or a part of it. */
  append(source: Buffer, start: number, end: number): void {
    source.copy(this.buffer, this.at, start, end);
    this.at += end - start;
  }

  maxData(limit: number): boolean {
    return this.#numbers(FrameType.MAX_DATA, 1, limit, 0, 0);
  }

  maxStreamData(id: number, limit: number): boolean {
    return this.#numbers(FrameType.MAX_STREAM_DATA, 2, id, limit, 0);
  }

  maxStreams(bidirectional: boolean, limit: number): boolean {
    return this.#numbers(bidirectional ? FrameType.MAX_STREAMS_BIDI : FrameType.MAX_STREAMS_UNI, 1, limit, 0, 0);
  }

  dataBlocked(limit: number): boolean {
    return this.#numbers(FrameType.DATA_BLOCKED, 1, limit, 0, 0);
  }

  streamDataBlocked(id: number, limit: number): boolean {
    return this.#numbers(FrameType.STREAM_DATA_BLOCKED, 2, id, limit, 0);
  }

  streamsBlocked(bidirectional: boolean, limit: number): boolean {
    const type = bidirectional ? FrameType.STREAMS_BLOCKED_BIDI : FrameType.STREAMS_BLOCKED_UNI;
    return this.#numbers(type, 1, limit, 0, 0);
  }

  newConnectionId(sequence: number, retirePriorTo: number, connectionId: Buffer, resetToken: Buffer): boolean {
    const size =
      2 + varintSize(sequence) + varintSize(retirePriorTo) + connectionId.length + STATELESS_RESET_TOKEN_LENGTH;
    if (size > this.remaining) return false;
    this.#numbers(FrameType.NEW_CONNECTION_ID, 2, sequence, retirePriorTo, 0);
    this.buffer[this.at++] = connectionId.length;
    this.append(connectionId, 0, connectionId.length);
    this.append(resetToken, 0, resetToken.length);
    return true;
  }

  retireConnectionId(sequence: number): boolean {
    return this.#numbers(FrameType.RETIRE_CONNECTION_ID, 1, sequence, 0, 0);
  }

  pathChallenge(data: Buffer): boolean {
    return this.#path(FrameType.PATH_CHALLENGE, data);
  }

  pathResponse(data: Buffer): boolean {
    return this.#path(FrameType.PATH_RESPONSE, data);
  }

  /** `frameType` undefined = the application closes. The reason is cut to what fits. */
  connectionClose(errorCode: number, frameType: number | undefined, reason: Buffer): boolean {
    const head = 1 + varintSize(errorCode) + (frameType === undefined ? 0 : varintSize(frameType));
    const length = this.#grant(head, reason.length);
    if (length < 0) return false;
    const { buffer } = this;
    this.#count(FrameType.CONNECTION_CLOSE);
    buffer[this.at] = frameType === undefined ? FrameType.CONNECTION_CLOSE_APPLICATION : FrameType.CONNECTION_CLOSE;
    let at = writeVarint(buffer, this.at + 1, errorCode);
    if (frameType !== undefined) at = writeVarint(buffer, at, frameType);
    this.at = writeVarint(buffer, at, length);
    this.append(reason, 0, length);
    return true;
  }

  handshakeDone(): boolean {
    return this.#numbers(FrameType.HANDSHAKE_DONE, 0, 0, 0, 0);
  }

  datagram(bytes: Buffer): boolean {
    return this.#bytes(FrameType.DATAGRAM_LENGTH, bytes);
  }

  #count(type: number): void {
    this.counts[type] = (this.counts[type] as number) + 1;
  }

  /** How many of `length` bytes fit behind a head of `head` bytes and their length; negative when the length itself does not. */
  #grant(head: number, length: number): number {
    const room = this.remaining - head;
    if (length < 0x40 && room > length) return length;
    const granted = Math.min(length, room - 2, MAX_LENGTH_IN_2);
    // What is left behind a length of one byte, when the rest is that short.
    return granted < 0x40 && room > 0 ? Math.min(length, room - 1, 0x3f) : granted;
  }

  /** A type and up to three numbers. */
  #numbers(type: number, count: number, first: number, second: number, third: number): boolean {
    let size = 1;
    if (count > 0) size += varintSize(first);
    if (count > 1) size += varintSize(second);
    if (count > 2) size += varintSize(third);
    if (size > this.remaining) return false;
    const { buffer } = this;
    this.#count(type);
    buffer[this.at] = type;
    let at = this.at + 1;
    if (count > 0) at = writeVarint(buffer, at, first);
    if (count > 1) at = writeVarint(buffer, at, second);
    if (count > 2) at = writeVarint(buffer, at, third);
    this.at = at;
    this.ackEliciting = true;
    return true;
  }

  #bytes(type: number, bytes: Buffer): boolean {
    const { length } = bytes;
    if (1 + varintSize(length) + length > this.remaining) return false;
    this.#count(type);
    this.buffer[this.at] = type;
    this.at = writeVarint(this.buffer, this.at + 1, length);
    this.append(bytes, 0, length);
    this.ackEliciting = true;
    return true;
  }

  #path(type: number, data: Buffer): boolean {
    if (1 + data.length > this.remaining) return false;
    this.#count(type);
    this.buffer[this.at++] = type;
    this.append(data, 0, data.length);
    this.ackEliciting = true;
    return true;
  }
}
