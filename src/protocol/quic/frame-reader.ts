/**
 * Reads the frames of a packet's payload (RFC 9000 § 19) into a visitor, without an object a frame. Layouts, `(i)` = varint:
 *
 *   PADDING, PING           type
 *   ACK                     type, largest (i), delay (i), range count (i), first range (i), [gap (i), range (i)]…, [ECN counts: 3 × (i)]
 *   RESET_STREAM            type, id (i), error code (i), final size (i)
 *   STOP_SENDING            type, id (i), error code (i)
 *   CRYPTO                  type, offset (i), length (i), data
 *   NEW_TOKEN               type, length (i), token
 *   STREAM                  type, id (i), [offset (i)], [length (i)], data
 *   MAX_*, *_BLOCKED        type, [id (i)], limit (i)
 *   NEW_CONNECTION_ID       type, sequence number (i), retire prior to (i), length (8), connection id, stateless reset token (128)
 *   RETIRE_CONNECTION_ID    type, sequence number (i)
 *   PATH_CHALLENGE, …_RESPONSE  type, data (64)
 *   CONNECTION_CLOSE        type, error code (i), [frame type (i)], length (i), reason
 *   DATAGRAM                type, [length (i)], data
 *
 * Checks what a frame alone can break: its encoding, whether it may stand in this packet (§ 12.4), and whether this peer may send it.
 */
import { frameEncodingError, protocolViolation, TransportError } from "./errors.ts";
import {
  type AckFrame,
  FrameType,
  isAckEliciting,
  isKnownFrame,
  isLegalIn,
  isLegalTowards,
  isProbing,
  PacketTrait,
  type Role,
  StreamBit,
} from "./frames.ts";
import { MAX_ACK_RANGES_READ, MAX_CONNECTION_ID_LENGTH, STATELESS_RESET_TOKEN_LENGTH } from "./limits.ts";
import type { PacketNumberSpace } from "./packet-number.ts";
import { MAX_VARINT, OVERSIZED, readVarint, varintLength, varintSize } from "./varint.ts";

/** One method a frame; views and `ack` are valid during the call. May throw TransportError, which ends the reading. */
export interface FrameHandler {
  /** What follows in the packet is not wanted any more. */
  readonly stopped?: boolean;
  onPing(): void;
  onAck(ack: AckFrame): void;
  onCrypto(offset: number, bytes: Buffer): void;
  onStream(id: number, offset: number, bytes: Buffer, fin: boolean): void;
  onResetStream(id: number, errorCode: number, finalSize: number): void;
  onStopSending(id: number, errorCode: number): void;
  onMaxData(limit: number): void;
  onMaxStreamData(id: number, limit: number): void;
  onMaxStreams(bidirectional: boolean, limit: number): void;
  onDataBlocked(limit: number): void;
  onStreamDataBlocked(id: number, limit: number): void;
  onStreamsBlocked(bidirectional: boolean, limit: number): void;
  onNewConnectionId(sequence: number, retirePriorTo: number, connectionId: Buffer, resetToken: Buffer): void;
  onRetireConnectionId(sequence: number): void;
  onPathChallenge(data: Buffer): void;
  onPathResponse(data: Buffer): void;
  /** `frameType` is undefined when the application closed. */
  onConnectionClose(errorCode: number, frameType: number | undefined, reason: Buffer): void;
  onHandshakeDone(): void;
  onNewToken(token: Buffer): void;
  onDatagram(bytes: Buffer): void;
}

/** The upper half of 2^60: the id of a stream beyond could not be told in a varint (RFC 9000 § 4.6). */
const MAX_STREAMS_HIGH = 2 ** 28;

class Ack implements AckFrame {
  largest = 0;
  delay = 0;
  readonly ranges = new Float64Array(2 * MAX_ACK_RANGES_READ);
  count = 0;
}

class Cursor {
  readonly bytes: Buffer;
  readonly end: number;
  at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.end = bytes.length;
  }

  /** A number that must be exact: an offset, an id, a count. */
  number(): number {
    const value = readVarint(this.bytes, this.at, this.end);
    if (value < 0) {
      throw frameEncodingError(value === OVERSIZED ? "a number is above 2^53 - 1" : "a frame ends within a number");
    }
    this.at += varintLength(this.bytes[this.at] as number);
    return value;
  }

  /** A limit or an error code: above what we can count it is as good as that. */
  clamped(): number {
    const value = readVarint(this.bytes, this.at, this.end);
    if (value === OVERSIZED) {
      this.at += 8;
      return MAX_VARINT;
    }
    return this.number();
  }

  /** A number of streams: at most 2^60 (RFC 9000 §§ 19.11, 19.14). */
  streams(): number {
    const { at, bytes } = this;
    const value = this.clamped();
    if (value === MAX_VARINT) {
      const high = bytes.readUInt32BE(at) & 0x3fff_ffff;
      if (high > MAX_STREAMS_HIGH || (high === MAX_STREAMS_HIGH && bytes.readUInt32BE(at + 4) > 0)) {
        throw frameEncodingError("a number of streams is above 2^60");
      }
    }
    return value;
  }

  take(length: number): Buffer {
    const start = this.at;
    if (length > this.end - start) throw frameEncodingError("a frame is longer than its packet");
    this.at = start + length;
    return this.bytes.subarray(start, this.at);
  }

  rest(): Buffer {
    return this.take(this.end - this.at);
  }
}

// Handlers don't read frames of the same connection while they handle an ACK, but an in-memory link may let a second connection do so.
const spareAcks: Ack[] = [];

function readAck(cursor: Cursor, ecn: boolean, handler: FrameHandler): void {
  const ack = spareAcks.pop() ?? new Ack();
  ack.largest = cursor.number();
  ack.delay = cursor.clamped();
  const more = cursor.number();
  // Each range takes two bytes at least: a count beyond the packet ends at once.
  if (more * 2 > cursor.end - cursor.at)
    throw frameEncodingError("an ACK frame promises more ranges than its packet holds");
  let largest = ack.largest;
  let smallest = largest - cursor.number();
  let count = 0;
  for (let left = more; ; left--) {
    if (smallest < 0) throw frameEncodingError("an ACK range begins below packet number 0");
    if (count < MAX_ACK_RANGES_READ) {
      ack.ranges[2 * count] = smallest;
      ack.ranges[2 * count + 1] = largest;
      count++;
    }
    if (left === 0) break;
    largest = smallest - cursor.number() - 2;
    if (largest < 0) throw frameEncodingError("an ACK range ends below packet number 0");
    smallest = largest - cursor.number();
  }
  ack.count = count;
  if (ecn) {
    // We mark no packet (there is no access to the IP header), so the counts say nothing (RFC 9000 § 13.4.2.1).
    for (let i = 0; i < 3; i++) cursor.clamped();
  }
  handler.onAck(ack);
  spareAcks.push(ack);
}

function readStream(cursor: Cursor, type: number, handler: FrameHandler): void {
  const id = cursor.number();
  const offset = (type & StreamBit.OFF) === 0 ? 0 : cursor.number();
  const bytes = (type & StreamBit.LEN) === 0 ? cursor.rest() : cursor.take(cursor.number());
  if (offset + bytes.length > MAX_VARINT) throw frameEncodingError("a stream's offset is above 2^53 - 1");
  handler.onStream(id, offset, bytes, (type & StreamBit.FIN) !== 0);
}

function readCrypto(cursor: Cursor, handler: FrameHandler): void {
  const offset = cursor.number();
  const bytes = cursor.take(cursor.number());
  if (offset + bytes.length > MAX_VARINT) throw frameEncodingError("a CRYPTO offset is above 2^53 - 1");
  handler.onCrypto(offset, bytes);
}

function readNewConnectionId(cursor: Cursor, handler: FrameHandler): void {
  const sequence = cursor.number();
  const retirePriorTo = cursor.number();
  if (retirePriorTo > sequence) throw frameEncodingError("NEW_CONNECTION_ID retires itself");
  const length = cursor.take(1)[0] as number;
  if (length < 1 || length > MAX_CONNECTION_ID_LENGTH) throw frameEncodingError(`a connection id of ${length} bytes`);
  const connectionId = cursor.take(length);
  handler.onNewConnectionId(sequence, retirePriorTo, connectionId, cursor.take(STATELESS_RESET_TOKEN_LENGTH));
}

function readConnectionClose(cursor: Cursor, type: number, handler: FrameHandler): void {
  const errorCode = cursor.clamped();
  const frameType = type === FrameType.CONNECTION_CLOSE ? cursor.clamped() : undefined;
  handler.onConnectionClose(errorCode, frameType, cursor.take(cursor.number()));
}

function readNewToken(cursor: Cursor, handler: FrameHandler): void {
  const token = cursor.take(cursor.number());
  if (token.length === 0) throw frameEncodingError("NEW_TOKEN without a token");
  handler.onNewToken(token);
}

function readFrame(cursor: Cursor, type: number, handler: FrameHandler): void {
  if (type >= FrameType.STREAM && type < FrameType.MAX_DATA) {
    readStream(cursor, type, handler);
    return;
  }
  switch (type) {
    case FrameType.PING:
      handler.onPing();
      break;
    case FrameType.ACK:
    case FrameType.ACK_ECN:
      readAck(cursor, type === FrameType.ACK_ECN, handler);
      break;
    case FrameType.RESET_STREAM:
      handler.onResetStream(cursor.number(), cursor.clamped(), cursor.number());
      break;
    case FrameType.STOP_SENDING:
      handler.onStopSending(cursor.number(), cursor.clamped());
      break;
    case FrameType.CRYPTO:
      readCrypto(cursor, handler);
      break;
    case FrameType.NEW_TOKEN:
      readNewToken(cursor, handler);
      break;
    case FrameType.MAX_DATA:
      handler.onMaxData(cursor.clamped());
      break;
    case FrameType.MAX_STREAM_DATA:
      handler.onMaxStreamData(cursor.number(), cursor.clamped());
      break;
    case FrameType.MAX_STREAMS_BIDI:
    case FrameType.MAX_STREAMS_UNI:
      handler.onMaxStreams(type === FrameType.MAX_STREAMS_BIDI, cursor.streams());
      break;
    case FrameType.DATA_BLOCKED:
      handler.onDataBlocked(cursor.clamped());
      break;
    case FrameType.STREAM_DATA_BLOCKED:
      handler.onStreamDataBlocked(cursor.number(), cursor.clamped());
      break;
    case FrameType.STREAMS_BLOCKED_BIDI:
    case FrameType.STREAMS_BLOCKED_UNI:
      handler.onStreamsBlocked(type === FrameType.STREAMS_BLOCKED_BIDI, cursor.streams());
      break;
    case FrameType.NEW_CONNECTION_ID:
      readNewConnectionId(cursor, handler);
      break;
    case FrameType.RETIRE_CONNECTION_ID:
      handler.onRetireConnectionId(cursor.number());
      break;
    case FrameType.PATH_CHALLENGE:
      handler.onPathChallenge(cursor.take(8));
      break;
    case FrameType.PATH_RESPONSE:
      handler.onPathResponse(cursor.take(8));
      break;
    case FrameType.CONNECTION_CLOSE:
    case FrameType.CONNECTION_CLOSE_APPLICATION:
      readConnectionClose(cursor, type, handler);
      break;
    case FrameType.HANDSHAKE_DONE:
      handler.onHandshakeDone();
      break;
    case FrameType.DATAGRAM:
      handler.onDatagram(cursor.rest());
      break;
    case FrameType.DATAGRAM_LENGTH:
      handler.onDatagram(cursor.take(cursor.number()));
      break;
    default:
      throw frameEncodingError("a frame of an unknown type");
  }
}

/** The type of the next frame: in its shortest form, else a filter on the way and we could read different frames (§ 12.4). */
function readType(cursor: Cursor): number {
  const { at } = cursor;
  const type = cursor.clamped();
  if (type !== MAX_VARINT && cursor.at - at !== varintSize(type)) {
    throw frameEncodingError("a frame's type is not in its shortest form");
  }
  return type;
}

/**
 * Hands the frames of a decrypted payload to `handler`; `role` is ours, `counts` counts them by type. Returns the packet's
 * traits. Throws TransportError, with the frame's type.
 */
export function readFrames(
  payload: Buffer,
  space: PacketNumberSpace,
  role: Role,
  handler: FrameHandler,
  counts: Float64Array,
): number {
  if (payload.length === 0) throw protocolViolation("a packet without a frame");
  const cursor = new Cursor(payload);
  let traits = 0;
  let type = 0;
  try {
    while (cursor.at < cursor.end && handler.stopped !== true) {
      // Padding comes in hundreds of bytes.
      if (payload[cursor.at] === FrameType.PADDING) {
        cursor.at++;
        continue;
      }
      type = readType(cursor);
      if (!isLegalIn(type, space)) {
        throw isKnownFrame(type)
          ? protocolViolation("a frame stands in a packet of a type that must not carry it")
          : frameEncodingError("a frame of an unknown type");
      }
      if (!isLegalTowards(type, role)) throw protocolViolation("a client sent a frame that only servers may send");
      if (isAckEliciting(type)) traits |= PacketTrait.ackEliciting;
      if (!isProbing(type)) traits |= PacketTrait.nonProbing;
      // Its type is legal, and so below the array's length.
      counts[type] = (counts[type] as number) + 1;
      readFrame(cursor, type, handler);
    }
  } catch (error) {
    if (error instanceof TransportError) error.frameType ??= type;
    throw error;
  }
  return traits;
}
