/**
 * A stream of WebSocket frames as a stream of the bytes in them: what stands behind it need not know which of the two it has.
 *
 * Each direction ends on its own as far as RFC 6455 lets it. The origin's end is our Close; what the visitor had sent before it
 * answered still reaches the origin. The visitor's Close is the end of what it says: the origin may finish its answer, and only then
 * is the Close answered.
 */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import { CloseCode, WebSocketError } from "../../protocol/websocket/errors.ts";
import { type FrameHandler, FrameReader } from "../../protocol/websocket/frame-reader.ts";
import { closeFrame, controlFrame, Opcode, writeFrameHeader } from "../../protocol/websocket/frames.ts";
import { MAX_HEADER_BYTES, MAX_SENT_PAYLOAD } from "../../protocol/websocket/limits.ts";
import type { CancelReason, EdgeStream, ResponseHead, StreamSink } from "../../types.ts";
import { CLOSE_SILENCE_MS, PING_INTERVAL_MS } from "./limits.ts";

const PING = controlFrame(Opcode.ping, Buffer.alloc(0));

/** Frames are put together here, and copied by the stream before `write` returns. */
const scratch = Buffer.allocUnsafeSlow(MAX_HEADER_BYTES + MAX_SENT_PAYLOAD);

export class WebSocketStream implements EdgeStream, StreamSink, FrameHandler {
  /** Must be set before the stream delivers anything. */
  sink!: StreamSink;
  readonly #stream: EdgeStream;
  readonly #onViolation: (error: WebSocketError) => void;
  readonly #reader = new FrameReader(this);
  #accepted = false;
  #closeSent = false;
  /** The visitor says nothing more: it sent its Close, or ended the stream. */
  #heardAll = false;
  /** The code of its Close. */
  #visitorCode: number | undefined;
  /** Our side of the stream has ended. */
  #ended = false;
  /** The visitor does not read. */
  #blocked = false;
  /** An answer that waits for room; only the latest ping needs one (RFC 6455 § 5.5.3). */
  #pong: Buffer | undefined;
  #pings: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  /** Bytes of the current chunk that went to the sink. */
  #passed = 0;

  /** Takes the stream's sink. @param onViolation the visitor broke the protocol; its end follows as `onCancel` */
  constructor(stream: EdgeStream, onViolation: (error: WebSocketError) => void) {
    this.#stream = stream;
    this.#onViolation = onViolation;
    stream.sink = this;
  }

  // What stands behind (EdgeStream).

  get bodyless(): boolean {
    return this.#stream.bodyless;
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  respond(head: ResponseHead, end: boolean): void {
    this.#stream.respond(head, end);
    if (end) {
      this.#ended = true;
      return;
    }
    this.#accepted = true;
    this.#heardAll ||= this.#stream.bodyless;
    if (this.#heardAll) this.#awaitSilence();
    else this.#pings = setInterval(() => this.#ping(), PING_INTERVAL_MS).unref();
    this.#flushPong();
  }

  write(chunk: Buffer, last: boolean): boolean {
    if (this.#closeSent) return true;
    this.#silence?.refresh();
    for (let at = 0; at < chunk.length; at += MAX_SENT_PAYLOAD) {
      const length = Math.min(MAX_SENT_PAYLOAD, chunk.length - at);
      const header = writeFrameHeader(scratch, Opcode.binary, length);
      chunk.copy(scratch, header, at, at + length);
      this.#send(scratch.subarray(0, header + length));
    }
    if (last) this.end();
    return !this.#blocked;
  }

  /** The origin has said all. */
  end(): void {
    this.#close(this.#visitorCode ?? CloseCode.normal, "");
  }

  /** What it carried broke. */
  abort(): void {
    this.breakOff(CloseCode.internalError, "the connection to the origin broke");
  }

  /** Ends it, both ways; a reason in ASCII. Before it was accepted the answer is a 502. */
  breakOff(code: number, reason: string): void {
    if (this.#ended) return;
    if (!this.#accepted) {
      this.#finish();
      this.#stream.abort();
      return;
    }
    // Its answer is not waited for, nor that of one that was sent before.
    this.#heardAll = true;
    this.#close(code, reason);
    this.#endStream();
  }

  // The visitor's side (StreamSink).

  onData(chunk: Buffer): void {
    const { length } = chunk;
    this.#passed = 0;
    if (!this.#ended && !this.#heardAll) {
      this.#silence?.refresh();
      try {
        this.#reader.receive(chunk);
      } catch (error) {
        if (!(error instanceof WebSocketError)) throw error;
        this.#violated(error);
      }
    }
    // What was passed on is credited by whoever has it.
    if (length > this.#passed) this.#stream.consumed(length - this.#passed);
  }

  onEnd(_trailers: readonly HeaderField[]): void {
    this.#visitorEnded();
  }

  onCancel(reason: CancelReason): void {
    this.#finish();
    this.sink.onCancel(reason);
  }

  onWritable(): void {
    if (this.#ended) return;
    this.#blocked = false;
    this.#silence?.refresh();
    this.#flushPong();
    if (!this.#blocked) this.sink.onWritable();
  }

  // Frames (FrameHandler).

  onPayload(view: Buffer): void {
    // It may have ended in the middle of a chunk.
    if (this.#ended) return;
    this.#passed += view.length;
    this.sink.onData(view);
  }

  onPing(payload: Buffer): void {
    this.#pong = controlFrame(Opcode.pong, payload);
    this.#flushPong();
  }

  onClose(code: number | undefined): void {
    this.#visitorCode = code;
    this.#visitorEnded();
  }

  #visitorEnded(): void {
    if (this.#ended || this.#heardAll) return;
    this.#heardAll = true;
    if (this.#closeSent) this.#endStream();
    else if (this.#accepted) this.#awaitSilence();
    this.sink.onEnd([]);
  }

  #violated(error: WebSocketError): void {
    this.#onViolation(error);
    this.breakOff(error.closeCode, error.message);
    this.sink.onCancel("protocol-error");
  }

  #send(frame: Buffer): void {
    this.#blocked = !this.#stream.write(frame, false);
  }

  #flushPong(): void {
    const pong = this.#pong;
    if (pong === undefined || !this.#accepted || this.#blocked || this.#closeSent) return;
    this.#pong = undefined;
    this.#send(pong);
  }

  /** A visitor that does not read gets no pings: they would only queue. */
  #ping(): void {
    if (!this.#blocked && !this.#heardAll) this.#send(PING);
  }

  #close(code: number, reason: string): void {
    if (this.#closeSent || this.#ended) return;
    this.#closeSent = true;
    clearInterval(this.#pings);
    this.#send(closeFrame(code, reason));
    if (this.#heardAll) this.#endStream();
    else this.#awaitSilence();
  }

  #awaitSilence(): void {
    this.#silence ??= setTimeout(() => this.#silent(), CLOSE_SILENCE_MS).unref();
    this.#silence.refresh();
  }

  #silent(): void {
    if (this.#closeSent) {
      this.#visitorEnded();
    } else {
      this.end();
      this.sink.onCancel("client-abort");
    }
  }

  #endStream(): void {
    if (this.#ended) return;
    this.#finish();
    this.#stream.end();
  }

  #finish(): void {
    this.#ended = true;
    this.#pong = undefined;
    clearInterval(this.#pings);
    clearTimeout(this.#silence);
  }
}
