/** One stream of the edge as a Duplex: what is written goes to the connector, what is read came from it. */
import { Duplex } from "node:stream";
import { UnderpassError } from "../errors.ts";
import { HeaderField } from "../protocol/bytes/header-field.ts";
import { ErrorCode, type StreamCancel } from "../protocol/http2/types.ts";
import type { CarriedStream, CarriedStreamHandler } from "./carrier.ts";
import type { WireHead } from "./response-head.ts";
import type { Field } from "./visitor-fields.ts";

/** A stream that ended before its time. */
export class VisitorStreamError extends UnderpassError {
  /** Error code of RFC 9113 § 7 where the connector reset the stream, undefined where the connection is gone. */
  readonly resetCode: number | undefined;

  constructor(message: string, resetCode: number | undefined) {
    super("ERR_UNDERPASS_MOCK_EDGE_STREAM", message);
    this.resetCode = resetCode;
  }
}

function describe(cancel: StreamCancel): VisitorStreamError {
  switch (cancel.kind) {
    case "peer-reset":
      return new VisitorStreamError(`the connector reset the stream with code ${cancel.code}`, cancel.code);
    case "protocol-error":
      return new VisitorStreamError("the connector broke the protocol on this stream", cancel.code);
    case "memory-limit":
      return new VisitorStreamError("the stream held too much that nobody read", undefined);
    default:
      return new VisitorStreamError("the connector's connection is gone", undefined);
  }
}

function fieldPairs(fields: readonly HeaderField[]): Field[] {
  return fields.map(({ name, value }) => [name, value]);
}

type Done = (error?: Error | null) => void;

/** Opens the stream; undefined when the connection takes no more. */
export type Opener = (handler: CarriedStreamHandler) => CarriedStream | undefined;

/**
 * Half-close is kept apart: ending the writable side leaves the readable one open. Destroying it resets the stream.
 * An `error` that nobody listens to is not thrown.
 */
export class VisitorStream extends Duplex {
  /** The response head; rejects with VisitorStreamError when the stream ends without one. */
  readonly head: Promise<WireHead>;
  /** Trailers of the connector, once the readable side has ended. */
  trailers: readonly Field[] = [];

  readonly #stream: CarriedStream;
  #resolveHead!: (head: WireHead) => void;
  #rejectHead!: (error: Error) => void;
  #ownTrailers: readonly Field[] = [];
  #writing: Done | undefined;
  /** Bytes in the readable buffer's keeping that were not credited to the connector yet. */
  #uncredited = 0;
  #peerEnded = false;
  /** The connector wants no more of the request's body (RFC 9113 § 8.1). */
  #unwanted = false;

  /** Undefined when the connection takes no more streams. */
  static open(open: Opener): VisitorStream | undefined {
    let visitor: VisitorStream | undefined;
    const stream = open({
      onResponse: (head) => visitor?.onResponse(head),
      onData: (chunk) => visitor?.onData(chunk),
      onEnd: (trailers) => visitor?.onEnd(trailers),
      onCancel: (cancel) => visitor?.onCancel(cancel),
      onWritable: () => visitor?.onWritable(),
    });
    if (stream === undefined) return undefined;
    // Nothing is called before the connector has answered, which can't be in this turn.
    visitor = new VisitorStream(stream);
    return visitor;
  }

  constructor(stream: CarriedStream) {
    super({ emitClose: true });
    this.#stream = stream;
    this.head = new Promise((resolve, reject) => {
      this.#resolveHead = resolve;
      this.#rejectHead = reject;
    });
    // Whoever does not wait for the head need not hear that it never came.
    this.head.catch(() => {});
    this.on("error", () => {});
  }

  get id(): number {
    return this.#stream.id;
  }

  /** Fields that follow the body; set before `end()`. */
  setTrailers(trailers: readonly Field[]): void {
    this.#ownTrailers = trailers;
  }

  /** Resets the stream, as a visitor's going away does. */
  cancel(code: number = ErrorCode.CANCEL): void {
    this.#stream.reset(code);
    this.destroy(new VisitorStreamError("the visitor cancelled the stream", code));
  }

  onResponse(head: WireHead): void {
    this.#resolveHead(head);
  }

  onData(chunk: Buffer): void {
    this.#uncredited += chunk.length;
    // The view is the codec's; the readable buffer outlives the call.
    if (this.push(Buffer.from(chunk))) this.#credit();
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.#peerEnded = true;
    this.trailers = fieldPairs(trailers);
    this.push(null);
  }

  onCancel(cancel: StreamCancel): void {
    this.#stream.release();
    if (this.#peerEnded && cancel.kind === "peer-reset" && cancel.code === ErrorCode.NO_ERROR) {
      this.#unwanted = true;
      this.onWritable();
      return;
    }
    const error = describe(cancel);
    this.#rejectHead(error);
    this.destroy(error);
  }

  onWritable(): void {
    const done = this.#writing;
    this.#writing = undefined;
    done?.();
  }

  #credit(): void {
    if (this.#uncredited === 0) return;
    this.#stream.consumed(this.#uncredited);
    this.#uncredited = 0;
  }

  override _read(): void {
    this.#credit();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#unwanted || this.#stream.write(chunk, false)) done();
    else this.#writing = done;
  }

  override _final(done: Done): void {
    const trailers = this.#ownTrailers.map(([name, value]) => new HeaderField(name.toLowerCase(), value));
    this.#stream.end(trailers.length === 0 ? undefined : trailers);
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    if (!this.#stream.closed) this.#stream.reset(ErrorCode.CANCEL);
    this.#rejectHead(error ?? new VisitorStreamError("the stream was destroyed", undefined));
    const writing = this.#writing;
    this.#writing = undefined;
    writing?.(error);
    done(error);
  }
}
