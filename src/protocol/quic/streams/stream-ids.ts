/**
 * Which streams there may be, are, and were (RFC 9000 §§ 2.1, 3.2, 4.6). An id's lowest bits are 1 = opened by the server, 2 =
 * one-way; the rest counts up. A stream that opens opens all lower ones of its type: those wait in `#skipped` as ranges until their
 * own first frame comes, whatever their number.
 */
import { TransportError, TransportErrorCode } from "../errors.ts";
import type { Role } from "../frames.ts";
import { MAX_VARINT } from "../varint.ts";
import { Ranges } from "./ranges.ts";

/** How many streams of one type a count can tell: the last one's id must be a number (RFC 9000 § 4.6; ours end earlier). */
const MAX_STREAMS = Math.floor(MAX_VARINT / 4);

export function isBidirectional(id: number): boolean {
  return id % 4 < 2;
}

/** Whether `role` opened the stream. */
export function isOpenedBy(id: number, role: Role): boolean {
  return (id % 2 === 1) === (role === "server");
}

function streamId(index: number, bidirectional: boolean, role: Role): number {
  return 4 * index + (bidirectional ? 0 : 2) + (role === "server" ? 1 : 0);
}

/** Streams of one kind that we open. */
export class LocalIds {
  readonly #bidirectional: boolean;
  readonly #role: Role;
  #opened = 0;
  #limit: number;
  /** The limit that a STREAMS_BLOCKED told of. */
  #blockedAt = -1;

  constructor(bidirectional: boolean, role: Role, limit: number) {
    this.#bidirectional = bidirectional;
    this.#role = role;
    this.#limit = Math.min(limit, MAX_STREAMS);
  }

  /** Undefined when the peer allows no more. */
  next(): number | undefined {
    return this.#opened < this.#limit ? streamId(this.#opened++, this.#bidirectional, this.#role) : undefined;
  }

  /** False when it is not new. */
  raise(limit: number): boolean {
    if (limit <= this.#limit) return false;
    this.#limit = Math.min(limit, MAX_STREAMS);
    return true;
  }

  hasOpened(id: number): boolean {
    return id < streamId(this.#opened, this.#bidirectional, this.#role);
  }

  /** False when the peer was told already. */
  block(): boolean {
    if (this.#blockedAt === this.#limit) return false;
    this.#blockedAt = this.#limit;
    return true;
  }

  get blockedAt(): number | undefined {
    return this.#blockedAt === this.#limit && this.#opened === this.#limit ? this.#limit : undefined;
  }
}

/** Streams of one kind that the peer opens. */
export class PeerIds {
  /** How many may be open at a time. */
  readonly #concurrent: number;
  /** MAX_STREAMS. */
  #limit: number;
  /** All below are open, were open, or are skipped. */
  #opened = 0;
  #closed = 0;
  #skipped: Ranges | undefined;

  constructor(concurrent: number) {
    this.#concurrent = Math.min(concurrent, MAX_STREAMS);
    this.#limit = this.#concurrent;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Whether the stream opens by this frame; else it was open. Throws when the peer may not open it. */
  opens(id: number): boolean {
    const index = Math.floor(id / 4);
    if (index < this.#opened) {
      const skipped = this.#skipped;
      if (skipped?.has(index) !== true) return false;
      skipped.delete(index, index + 1);
      if (skipped.isEmpty) this.#skipped = undefined;
      return true;
    }
    if (index >= this.#limit)
      throw new TransportError(TransportErrorCode.STREAM_LIMIT_ERROR, "more streams than allowed");
    if (index > this.#opened) (this.#skipped ??= new Ranges()).add(this.#opened, index);
    this.#opened = index + 1;
    return true;
  }

  /** A stream is over. True when the limit was raised. */
  close(): boolean {
    this.#closed++;
    const wanted = Math.min(this.#concurrent + this.#closed, MAX_STREAMS);
    if (wanted - this.#limit < Math.max(1, this.#concurrent / 4)) return false;
    this.#limit = wanted;
    return true;
  }
}
