/**
 * Reads a client's frames as a stream: payload is passed on as it comes, so that a frame of any size costs no memory, and the
 * boundaries of messages, which mean nothing to the bytes in them, are forgotten. Text is passed on as the bytes it is made of.
 */
import { isUtf8 } from "node:buffer";
import { CloseCode, WebSocketError } from "./errors.ts";
import { isSendableCode, Opcode } from "./frames.ts";
import { MAX_CONTROL_PAYLOAD, MAX_FRAME_PAYLOAD, MAX_HEADER_BYTES } from "./limits.ts";
import { unmask } from "./mask.ts";

export interface FrameHandler {
  /** Bytes of messages. The view is valid only during the call. */
  onPayload(view: Buffer): void;
  /** The view is valid only during the call. */
  onPing(payload: Buffer): void;
  /** The last call. `code` is undefined where the frame had none. */
  onClose(code: number | undefined): void;
}

function protocolError(message: string): WebSocketError {
  return new WebSocketError(CloseCode.protocolError, message);
}

export class FrameReader {
  readonly #handler: FrameHandler;
  readonly #header = Buffer.alloc(MAX_HEADER_BYTES);
  #have = 0;
  /** How long the header will be, as far as is known. */
  #need = 2;
  readonly #key = new Uint8Array(4);
  #opcode = 0;
  #isControl = false;
  /** Payload of the current frame that has not come yet; undefined between frames. */
  #left: number | undefined;
  /** Payload of the current frame that has come. */
  #at = 0;
  /** Within a message of several frames. */
  #fragmented = false;
  readonly #control = Buffer.alloc(MAX_CONTROL_PAYLOAD);
  #ended = false;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** Unmasks in place: `chunk` is overwritten. Throws a WebSocketError, after which nothing more is to be read. */
  receive(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#ended) {
      if (this.#left === undefined) {
        at = this.#readHeader(chunk, at);
      } else {
        const length = Math.min(this.#left, chunk.length - at);
        unmask(chunk, at, at + length, this.#key, this.#at);
        this.#left -= length;
        this.#at += length;
        const view = chunk.subarray(at, at + length);
        at += length;
        if (this.#isControl) view.copy(this.#control, this.#at - length);
        else this.#handler.onPayload(view);
      }
      if (this.#left === 0) this.#endFrame();
    }
  }

  #readHeader(chunk: Buffer, from: number): number {
    let at = from;
    while (this.#have < this.#need && at < chunk.length) {
      this.#header[this.#have++] = chunk[at++] ?? 0;
      if (this.#have === 2) this.#checkStart(this.#header[0] ?? 0, this.#header[1] ?? 0);
    }
    if (this.#have === this.#need) this.#beginPayload();
    return at;
  }

  /** RFC 6455 §§ 5.1, 5.2, 5.4, 5.5. */
  #checkStart(first: number, second: number): void {
    const fin = (first & 0x80) !== 0;
    const opcode = first & 0x0f;
    const length = second & 0x7f;
    if ((first & 0x70) !== 0) throw protocolError("a reserved bit is set, and no extension was agreed on");
    if ((second & 0x80) === 0) throw protocolError("a client's frame is not masked");
    this.#isControl = opcode >= 8;
    if (this.#isControl) {
      if (opcode > Opcode.pong) throw protocolError(`opcode ${opcode} is reserved`);
      if (!fin) throw protocolError("a control frame is fragmented");
      if (length > MAX_CONTROL_PAYLOAD) throw protocolError("a control frame is longer than 125 bytes");
    } else {
      if (opcode > Opcode.binary) throw protocolError(`opcode ${opcode} is reserved`);
      const continues = opcode === Opcode.continuation;
      if (continues && !this.#fragmented) throw protocolError("a continuation continues nothing");
      if (!continues && this.#fragmented) throw protocolError("a message begins within another");
      this.#fragmented = !fin;
    }
    this.#opcode = opcode;
    this.#need = 6 + (length === 126 ? 2 : length === 127 ? 8 : 0);
  }

  #beginPayload(): void {
    const header = this.#header;
    const short = (header[1] ?? 0) & 0x7f;
    this.#left = short === 126 ? header.readUInt16BE(2) : short === 127 ? this.#longLength() : short;
    this.#key.set(header.subarray(this.#need - 4, this.#need));
    this.#at = 0;
  }

  #longLength(): number {
    const high = this.#header.readUInt32BE(2);
    if (high > 0x7fff_ffff) throw protocolError("the highest bit of a length is set");
    const length = high * 2 ** 32 + this.#header.readUInt32BE(6);
    if (length > MAX_FRAME_PAYLOAD) throw new WebSocketError(CloseCode.tooBig, "a frame is longer than 2^53 bytes");
    return length;
  }

  #endFrame(): void {
    const payload = this.#control.subarray(0, this.#isControl ? this.#at : 0);
    this.#left = undefined;
    this.#have = 0;
    this.#need = 2;
    if (this.#opcode === Opcode.ping) this.#handler.onPing(payload);
    else if (this.#opcode === Opcode.close) this.#close(payload);
  }

  #close(payload: Buffer): void {
    this.#ended = true;
    if (payload.length === 0) {
      this.#handler.onClose(undefined);
      return;
    }
    if (payload.length === 1) throw protocolError("a Close frame has half a code");
    const code = payload.readUInt16BE();
    if (!isSendableCode(code)) throw protocolError(`a Close frame has the code ${code}, which must not be sent`);
    if (!isUtf8(payload.subarray(2))) {
      throw new WebSocketError(CloseCode.invalidPayload, "the reason in a Close frame is not UTF-8");
    }
    this.#handler.onClose(code);
  }
}
