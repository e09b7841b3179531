/** One request on its way through a fetch handler. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import { Http1RequestError } from "../../protocol/http1/errors.ts";
import type {
  CancelReason,
  EdgeStream,
  FetchHandler,
  HttpRequest,
  OutcomeClass,
  RequestPhase,
  StreamSink,
} from "../../types.ts";
import { outcomeOfCancel } from "../request-record.ts";
import { HandlerError } from "./errors.ts";
import { FetchBody } from "./fetch-body.ts";
import { fetchRequest, takesBody } from "./fetch-request.ts";
import { discardBody, fetchResponse } from "./fetch-response.ts";
import { answerPlainly } from "./plain-answer.ts";
import type { InProcessContext } from "./serve.ts";

/** A bigger chunk is passed on in pieces, so that a slow visitor's window bounds what is copied. */
const LARGEST_PIECE = 256 * 1024;

export class FetchExchange implements StreamSink {
  readonly #request: HttpRequest;
  readonly #stream: EdgeStream;
  readonly #context: InProcessContext;
  readonly #abort = new AbortController();
  readonly #body: FetchBody | undefined;
  #phase: RequestPhase = "response-head";
  #status = 0;
  #over = false;
  /** The visitor left while the handler worked. */
  #abandoned = false;
  #reader: ReadableStreamDefaultReader<unknown> | undefined;
  #onRoom: (() => void) | undefined;

  constructor(request: HttpRequest, context: InProcessContext) {
    this.#request = request;
    this.#stream = request.stream;
    this.#context = context;
    this.#body = takesBody(request) ? new FetchBody(request.stream) : undefined;
    this.#stream.sink = this;
  }

  /** Never rejects. */
  async run(handler: FetchHandler): Promise<void> {
    try {
      const request = fetchRequest(this.#request, this.#context.forwarded, this.#body?.readable, this.#abort.signal);
      await this.#answer(await handler(request));
    } catch (error) {
      this.#failed(error);
    }
    if (this.#abandoned) this.#context.abandoned.remove();
  }

  onData(chunk: Buffer): void {
    if (this.#body === undefined || this.#over) this.#stream.consumed(chunk.length);
    else this.#body.push(chunk);
  }

  onEnd(_trailers: readonly HeaderField[]): void {
    this.#body?.end();
  }

  onCancel(reason: CancelReason): void {
    if (this.#over) return;
    this.#abandoned = true;
    this.#context.abandoned.add();
    this.#finish(outcomeOfCancel(reason), this.#phase);
    const gone = new DOMException("The visitor's request was broken off", "AbortError");
    this.#abort.abort(gone);
    this.#body?.fail(gone);
    this.#giveUpReading(gone);
  }

  onWritable(): void {
    this.#wake();
  }

  async #answer(value: unknown): Promise<void> {
    if (this.#over) {
      discardBody(value);
      return;
    }
    const { head, body } = fetchResponse(value, this.#request.method);
    const end = body === undefined;
    this.#status = head.status;
    this.#phase = "response-body";
    this.#stream.respond(head, end);
    if (end) {
      discardBody(value);
      this.#answered();
      return;
    }
    await this.#send(body, head.contentLength);
  }

  async #send(body: ReadableStream<unknown>, contentLength: number | undefined): Promise<void> {
    const reader = body.getReader();
    this.#reader = reader;
    let sent = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (this.#over) return;
      if (done) break;
      if (!(value instanceof Uint8Array))
        throw new TypeError("the Response's body gave a chunk that is not a Uint8Array");
      sent += value.length;
      // What the head has said is on its way to the visitor: another length would be taken for a broken connection there.
      if (contentLength !== undefined && sent > contentLength) {
        throw new TypeError(`the Response's body is longer than its content-length of ${contentLength}`);
      }
      await this.#write(value);
      if (this.#over) return;
    }
    if (contentLength !== undefined && sent < contentLength) {
      throw new TypeError(`the Response's body ended after ${sent} bytes; its content-length is ${contentLength}`);
    }
    this.#stream.end();
    this.#answered();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#over; at += LARGEST_PIECE) {
      const piece = bytes.subarray(at, at + LARGEST_PIECE);
      const room = this.#stream.write(Buffer.from(piece.buffer, piece.byteOffset, piece.length), false);
      if (!room) {
        await new Promise<void>((resolve) => {
          this.#onRoom = resolve;
        });
      }
    }
  }

  #answered(): void {
    this.#finish("ok");
    // A handler that still reads must not wait for ever.
    this.#body?.fail(new DOMException("The response has ended, and the request with it", "AbortError"));
  }

  #failed(cause: unknown): void {
    // What fails after the visitor has gone fails because of that.
    if (this.#over) return;
    const refused = cause instanceof Http1RequestError;
    const error = refused ? cause : new HandlerError("the origin's fetch handler failed", cause);
    const phase = refused ? "request" : this.#phase;
    if (this.#status === 0) {
      this.#status = refused ? 400 : 500;
      answerPlainly(this.#request, this.#status === 400 ? 400 : 500);
    } else this.#stream.abort();
    this.#finish(refused ? "bad-request" : "handler-error", phase, error);
    this.#body?.fail(error);
    this.#giveUpReading(error);
  }

  #giveUpReading(reason: unknown): void {
    this.#wake();
    this.#reader?.cancel(reason).catch(() => {});
  }

  #wake(): void {
    const wake = this.#onRoom;
    this.#onRoom = undefined;
    wake?.();
  }

  #finish(outcome: OutcomeClass, phase?: RequestPhase, error?: Error): void {
    this.#over = true;
    this.#context.report({
      class: outcome,
      status: this.#status,
      ...(phase === undefined ? {} : { phase }),
      ...(error === undefined ? {} : { error }),
    });
  }
}
