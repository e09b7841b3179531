/**
 * The chunked transfer coding (RFC 9112 § 7.1), decoded incrementally.
 *
 *   chunked-body = *( chunk-size [ BWS ";" chunk-ext ] CRLF chunk-data CRLF )
 *                  1*"0" [ chunk-ext ] CRLF
 *                  *( trailer-field CRLF )
 *                  CRLF
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { Http1ResponseError, malformed } from "./errors.ts";
import type { HeaderLineCache } from "./header-line.ts";
import { MAX_CHUNK_OVERHEAD_BYTES, MAX_CHUNK_SIZE_DIGITS, MAX_TRAILER_BYTES } from "./limits.ts";
import { parseTrailers } from "./response-head.ts";
import { Section } from "./section.ts";

const State = {
  SIZE: 0,
  /** Whitespace after the size, before a semicolon or the end of the line. */
  PADDING: 1,
  EXTENSION: 2,
  SIZE_LF: 3,
  DATA: 4,
  DATA_CR: 5,
  DATA_LF: 6,
  /** The first byte after the last chunk's line decides between no trailers and some. */
  LAST: 7,
  LAST_LF: 8,
  TRAILERS: 9,
  DONE: 10,
} as const;
type State = (typeof State)[keyof typeof State];

const CR = 0x0d;
const LF = 0x0a;
const TAB = 0x09;
const SPACE = 0x20;
const SEMICOLON = 0x3b;
const NO_TRAILERS: readonly HeaderField[] = [];

/** What Go's client also grants a chunk: enough for its size line, and twice its data. */
const FREE_OVERHEAD_PER_CHUNK = 16;

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

export class ChunkedBody {
  readonly #lines: HeaderLineCache;
  readonly #trailerSection = new Section("trailer section");
  #state: State = State.SIZE;
  /** Size being read, then data bytes left of the chunk. */
  #size = 0;
  #digits = 0;
  #lineBytes = 0;
  #overhead = 0;
  trailers: readonly HeaderField[] = NO_TRAILERS;

  constructor(lines: HeaderLineCache) {
    this.#lines = lines;
  }

  get done(): boolean {
    return this.#state === State.DONE;
  }

  begin(): void {
    this.#state = State.SIZE;
    this.#size = 0;
    this.#digits = 0;
    this.#lineBytes = 0;
    this.#overhead = 0;
    this.trailers = NO_TRAILERS;
    this.#trailerSection.clear();
  }

  /**
   * Decodes from `from` on until the bytes or the body end; returns where it stopped. The data of all chunks in `bytes` is moved
   * together there and handed on as one view: whoever sends it on pays for each call, and a move within the cache is cheap.
   */
  receive(bytes: Buffer, from: number, onData: { onBody(view: Buffer): void }): number {
    let at = from;
    let dataStart = -1;
    let dataEnd = -1;
    while (at < bytes.length && this.#state !== State.DONE) {
      switch (this.#state) {
        case State.DATA: {
          const end = Math.min(bytes.length, at + this.#size);
          this.#size -= end - at;
          if (this.#size === 0) this.#state = State.DATA_CR;
          if (dataStart < 0) {
            dataStart = at;
            dataEnd = end;
          } else {
            bytes.copyWithin(dataEnd, at, end);
            dataEnd += end - at;
          }
          at = end;
          break;
        }
        case State.TRAILERS:
          at = this.#receiveTrailers(bytes, at);
          break;
        case State.LAST:
          // The byte that begins a trailer section belongs to it.
          if (bytes[at] === CR) {
            this.#state = State.LAST_LF;
            at++;
          } else {
            this.#state = State.TRAILERS;
          }
          break;
        default:
          this.#framing(bytes[at] ?? 0);
          at++;
      }
    }
    if (dataStart >= 0) onData.onBody(bytes.subarray(dataStart, dataEnd));
    return at;
  }

  #receiveTrailers(bytes: Buffer, at: number): number {
    const end = this.#trailerSection.receive(bytes, at, MAX_TRAILER_BYTES);
    if (end < 0) return bytes.length;
    this.trailers = parseTrailers(this.#trailerSection.text, this.#lines);
    this.#state = State.DONE;
    return end;
  }

  #framing(byte: number): void {
    switch (this.#state) {
      case State.SIZE:
        this.#sizeByte(byte);
        break;
      case State.PADDING:
        this.#lineBytes++;
        if (byte === CR) this.#state = State.SIZE_LF;
        else if (byte === SEMICOLON) this.#state = State.EXTENSION;
        else if (byte !== SPACE && byte !== TAB)
          throw malformed("a chunk size of the origin is not a hexadecimal number");
        this.#boundLine();
        break;
      case State.EXTENSION:
        this.#lineBytes++;
        if (byte === CR) this.#state = State.SIZE_LF;
        else if (byte < SPACE && byte !== TAB)
          throw malformed("a chunk extension of the origin holds a control character");
        this.#boundLine();
        break;
      case State.SIZE_LF:
        if (byte !== LF) throw malformed("a chunk size line of the origin does not end with CRLF");
        this.#sizeComplete();
        break;
      case State.DATA_CR:
        if (byte !== CR) throw malformed("a chunk of the origin is longer than its size");
        this.#state = State.DATA_LF;
        break;
      case State.DATA_LF:
        if (byte !== LF) throw malformed("a chunk of the origin does not end with CRLF");
        this.#state = State.SIZE;
        break;
      case State.LAST_LF:
        if (byte !== LF) throw malformed("the last chunk of the origin does not end with CRLF");
        this.#state = State.DONE;
        break;
      default:
        break;
    }
  }

  #sizeByte(byte: number): void {
    this.#lineBytes++;
    const digit = hexValue(byte);
    if (digit >= 0) {
      if (++this.#digits > MAX_CHUNK_SIZE_DIGITS) throw malformed("a chunk size of the origin has too many digits");
      this.#size = this.#size * 16 + digit;
      if (!Number.isSafeInteger(this.#size)) throw malformed("a chunk size of the origin is out of range");
      return;
    }
    if (this.#digits === 0) throw malformed("a chunk size of the origin is not a hexadecimal number");
    if (byte === CR) this.#state = State.SIZE_LF;
    else if (byte === SEMICOLON) this.#state = State.EXTENSION;
    // Some old servers pad the size to a fixed width (BWS in RFC 9112 § 7.1.1).
    else if (byte === SPACE || byte === TAB) this.#state = State.PADDING;
    else throw malformed("a chunk size of the origin is not a hexadecimal number");
  }

  #boundLine(): void {
    if (this.#overhead + this.#lineBytes > MAX_CHUNK_OVERHEAD_BYTES) throw this.#tooMuchFraming();
  }

  #sizeComplete(): void {
    const free = FREE_OVERHEAD_PER_CHUNK + 2 * this.#size;
    this.#overhead = Math.max(0, this.#overhead + this.#lineBytes - free);
    if (this.#overhead > MAX_CHUNK_OVERHEAD_BYTES) throw this.#tooMuchFraming();
    this.#state = this.#size === 0 ? State.LAST : State.DATA;
    this.#digits = 0;
    this.#lineBytes = 0;
  }

  #tooMuchFraming(): Http1ResponseError {
    return new Http1ResponseError("limit", "the origin's chunked body is more framing than data");
  }
}
