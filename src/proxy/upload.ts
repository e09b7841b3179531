/**
 * The visitor's bytes on their way to the origin's socket: a request body, or one direction of a splice.
 *
 * Bytes are copied into pooled buffers and joined until the end of the loop's turn; one write is in flight at a time, and while
 * it is, what arrives is joined behind it. So memory is what the stream's window lets the visitor send, whatever the sizes of
 * its frames, and credit goes back only when the socket has taken the bytes.
 */
import type { Socket } from "node:net";
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import { fieldLine, isTrailerField } from "../protocol/http1/request-head.ts";
import type { EdgeStream } from "../types.ts";
import { type BufferPool, LARGE_BYTES, SMALL_BYTES } from "./buffer-pool.ts";
import type { Flushable, FlushQueue } from "./flush-queue.ts";
import { send, type WriteCallback } from "./origin-socket.ts";

/** Room before the data for `ffff CRLF`, and behind it for CRLF and an empty last chunk. */
const CHUNK_HEADER_BYTES = 6;
const CHUNK_TAIL_BYTES = 2;
const LAST_CHUNK = "0\r\n";

export interface UploadResources {
  readonly buffers: BufferPool;
  readonly flushes: FlushQueue;
}

/** One buffer: `[text][chunk header][data]`; the text is a request head, or nothing. */
class Segment {
  readonly buffer: Buffer;
  readonly chunked: boolean;
  readonly dataStart: number;
  start = 0;
  end: number;
  /** Bytes that the stream is credited for when this is written. */
  credit = 0;

  constructor(buffer: Buffer, text: string, chunked: boolean) {
    this.buffer = buffer;
    this.chunked = chunked;
    const textEnd = text === "" ? 0 : buffer.write(text, 0, "latin1");
    this.dataStart = textEnd + (chunked ? CHUNK_HEADER_BYTES : 0);
    this.end = this.dataStart;
  }

  get room(): number {
    return this.buffer.length - this.end - (this.chunked ? CHUNK_TAIL_BYTES : 0);
  }

  append(chunk: Buffer, from: number, length: number): void {
    chunk.copy(this.buffer, this.end, from, from + length);
    this.end += length;
    this.credit += length;
  }

  /** Writes the chunk framing (RFC 9112 § 7.1) around the data; the bytes before it move up to where its header begins. */
  seal(): void {
    if (!this.chunked) return;
    const { buffer, dataStart } = this;
    const textEnd = dataStart - CHUNK_HEADER_BYTES;
    const length = this.end - dataStart;
    if (length === 0) {
      this.end = textEnd;
      return;
    }
    const header = `${length.toString(16)}\r\n`;
    const spare = CHUNK_HEADER_BYTES - header.length;
    buffer.copyWithin(spare, 0, textEnd);
    this.start = spare;
    buffer.write(header, textEnd + spare, "latin1");
    this.end += buffer.write("\r\n", this.end, "latin1");
  }

  appendText(text: string): void {
    if (text !== "") this.end += this.buffer.write(text, this.end, "latin1");
  }
}

export class Upload implements Flushable {
  readonly #stream: EdgeStream;
  readonly #resources: UploadResources;
  readonly #chunked: boolean;
  readonly #onFinished: () => void;
  readonly #onWritten: WriteCallback = (error) => this.#written(error);
  #socket: Socket | undefined;
  /** A head that waits for the end of the turn, so that the body's first bytes leave in the same write. */
  #text = "";
  /** Full ones, waiting. */
  readonly #queue: Segment[] = [];
  /** Being filled. */
  #tail: Segment | undefined;
  /** More came in the last turn than a small buffer holds. */
  #bulk = false;
  #writing = false;
  #flushing = false;
  #inFlight: Segment | undefined;
  #held = false;
  #scheduled = false;
  #touched = false;
  #ended = false;
  /** What stands behind the data and is not written yet. */
  #ending = "";
  #stopped = false;
  #finished = false;

  /** @param onFinished called once: the socket has taken everything, the end of the body included */
  constructor(stream: EdgeStream, resources: UploadResources, chunked: boolean, onFinished: () => void) {
    this.#stream = stream;
    this.#resources = resources;
    this.#chunked = chunked;
    this.#onFinished = onFinished;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** Nothing of the body has come, not even its end. */
  get untouched(): boolean {
    return !this.#touched;
  }

  /** The socket is open: `head` goes first. `hold` keeps the body back until `release`. */
  start(socket: Socket, head: string, hold: boolean): void {
    this.#socket = socket;
    this.#held = hold;
    if (hold || this.#touched || head.length > LARGE_BYTES / 2) {
      if (head !== "") socket.write(head, "latin1");
      this.flush();
      return;
    }
    this.#text = head;
    if (head !== "") this.#schedule();
  }

  release(): void {
    this.#held = false;
    this.flush();
  }

  push(chunk: Buffer): void {
    if (this.#stopped) {
      this.#stream.consumed(chunk.length);
      return;
    }
    this.#touched = true;
    let at = 0;
    while (at < chunk.length) {
      let tail = this.#tail;
      if (tail === undefined || tail.room <= 0) tail = this.#nextTail(chunk.length - at);
      const length = Math.min(tail.room, chunk.length - at);
      tail.append(chunk, at, length);
      at += length;
    }
    this.#schedule();
  }

  end(trailers: readonly HeaderField[]): void {
    if (this.#ended) return;
    this.#touched = true;
    this.#ended = true;
    if (this.#chunked) this.#ending = `${LAST_CHUNK}${trailerLines(trailers)}\r\n`;
    this.flush();
  }

  /** Nothing will be written any more: gives back memory and credit. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    let credit = 0;
    for (const segment of this.#queue.splice(0)) credit += this.#drop(segment);
    if (this.#tail !== undefined) credit += this.#drop(this.#tail);
    this.#tail = undefined;
    if (this.#inFlight !== undefined) {
      // Its memory still belongs to the socket, until the write's callback.
      credit += this.#inFlight.credit;
      this.#inFlight.credit = 0;
    }
    if (credit > 0) this.#stream.consumed(credit);
  }

  flush(): void {
    this.#scheduled = false;
    // A write that is done at once comes back here before the one that made it has returned.
    if (this.#flushing) return;
    this.#flushing = true;
    while (this.#socket !== undefined && !this.#writing && !this.#held && !this.#stopped && !this.#finished) {
      if (!this.#writeNext(this.#socket)) break;
    }
    this.#flushing = false;
  }

  /** False when there is nothing to write. */
  #writeNext(socket: Socket): boolean {
    const segment = this.#queue.shift() ?? this.#tail;
    if (segment !== undefined) this.#writeSegment(socket, segment);
    else if (this.#text !== "" || this.#ending !== "") this.#writeText(socket);
    else {
      if (this.#ended) {
        this.#finished = true;
        this.#onFinished();
      }
      return false;
    }
    return true;
  }

  #writeSegment(socket: Socket, segment: Segment): void {
    if (segment === this.#tail) this.#tail = undefined;
    segment.seal();
    this.#bulk = segment.end > SMALL_BYTES;
    const isLast = this.#tail === undefined && this.#queue.length === 0;
    if (isLast && this.#ending.length <= segment.room) {
      segment.appendText(this.#ending);
      this.#ending = "";
    }
    this.#writing = true;
    this.#inFlight = segment;
    send(socket, segment.buffer.subarray(segment.start, segment.end), this.#onWritten);
  }

  #writeText(socket: Socket): void {
    const text = this.#takeText() + this.#ending;
    this.#ending = "";
    this.#writing = true;
    send(socket, text, this.#onWritten);
  }

  #nextTail(bytes: number): Segment {
    // QUIC brings bulk in pieces of one packet each: where one small buffer is full, more follows.
    const bulk = this.#bulk || this.#tail !== undefined;
    if (this.#tail !== undefined) this.#queue.push(this.#tail);
    const text = this.#takeText();
    const wanted = text.length + bytes + CHUNK_HEADER_BYTES + CHUNK_TAIL_BYTES;
    const tail = new Segment(this.#resources.buffers.take(bulk ? LARGE_BYTES : wanted), text, this.#chunked);
    this.#tail = tail;
    return tail;
  }

  #takeText(): string {
    const text = this.#text;
    this.#text = "";
    return text;
  }

  #schedule(): void {
    if (this.#scheduled || this.#socket === undefined || this.#held || this.#writing) return;
    this.#scheduled = true;
    this.#resources.flushes.add(this);
  }

  #written(error: Error | null | undefined): void {
    const segment = this.#inFlight;
    this.#inFlight = undefined;
    this.#writing = false;
    if (segment !== undefined) {
      const credit = this.#drop(segment);
      if (credit > 0) this.#stream.consumed(credit);
    }
    // The origin takes nothing any more; what went wrong, the connection's own error says.
    if (error === undefined || error === null) this.flush();
    else this.stop();
  }

  #drop(segment: Segment): number {
    this.#resources.buffers.give(segment.buffer);
    return segment.credit;
  }
}

function trailerLines(trailers: readonly HeaderField[]): string {
  let lines = "";
  for (const field of trailers) {
    if (isTrailerField(field)) lines += fieldLine(field.name, field.value);
  }
  return lines;
}
