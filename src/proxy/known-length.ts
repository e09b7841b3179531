/**
 * disableChunkedEncoding: a request whose length nobody stated is kept until it has ended, and then sent with its length. To be
 * kept beyond its stream's window its credit goes back as it arrives, so that two limits bound what is held instead.
 */
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import type { CancelReason, EdgeStream, HttpRequest, ResponseHead, StreamSink } from "../types.ts";
import type { ActiveRequest } from "./active-requests.ts";
import { BadRequestError } from "./bad-request.ts";
import { discardingSink } from "./direct-answers.ts";
import { failRequest } from "./failed-request.ts";
import { HeldBytes } from "./held-bytes.ts";
import { outcomeOfCancel, type RequestRecord } from "./request-record.ts";

/** The longest body that is kept: what WSGI servers, for which the option is, take without a file. */
export const MAX_KEPT_BODY_BYTES = 4 * 1024 * 1024;

/** What all kept bodies of a rule may hold: slow uploads could each hold the above for as long as they like. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;

/** What the origin's side may hold of a kept body at a time. */
const REPLAY_WINDOW_BYTES = 256 * 1024;

/** Shared by the requests of a rule. */
export class KeptBytes {
  held = 0;
}

type Serve = (request: HttpRequest) => void;

/** Takes the stream's sink at once, and calls `serve` with a request of known length once the body has ended. */
export function withKnownLength(request: HttpRequest, record: RequestRecord, kept: KeptBytes, serve: Serve): void {
  const body = new KeptBody(request, record, kept, serve);
  request.stream.sink = body;
  record.activate(body);
}

/** First the stream's consumer, then a stream of its own, of which the body is read. */
class KeptBody implements StreamSink, EdgeStream, ActiveRequest {
  readonly bodyless = false;
  sink: StreamSink = this;
  readonly #request: HttpRequest;
  readonly #stream: EdgeStream;
  readonly #record: RequestRecord;
  readonly #kept: KeptBytes;
  readonly #serve: Serve;
  readonly #bytes = new HeldBytes();
  #length = 0;
  #state: "collecting" | "replaying" | "over" = "collecting";
  #isFeeding = false;
  #isFed = false;
  /** Given to the reader, and not yet taken by it. */
  #given = 0;

  constructor(request: HttpRequest, record: RequestRecord, kept: KeptBytes, serve: Serve) {
    this.#request = request;
    this.#stream = request.stream;
    this.#record = record;
    this.#kept = kept;
    this.#serve = serve;
  }

  // The visitor's side (StreamSink).

  onData(chunk: Buffer): void {
    this.#stream.consumed(chunk.length);
    if (this.#state !== "collecting") return;
    this.#length += chunk.length;
    this.#kept.held += chunk.length;
    this.#bytes.push(chunk);
    if (this.#length > MAX_KEPT_BODY_BYTES) this.#tooLong();
    else if (this.#kept.held > MAX_KEPT_BYTES) this.#tooMany();
  }

  /** Trailers have no place in a message with a length (RFC 9112 § 6.5). */
  onEnd(): void {
    if (this.#state !== "collecting") return;
    this.#state = "replaying";
    const request: HttpRequest = { ...this.#request, contentLength: this.#length, stream: this };
    try {
      this.#serve(request);
    } catch (error) {
      failRequest(request, this.#record, error);
    }
    this.#feed();
  }

  onCancel(reason: CancelReason): void {
    const { sink } = this;
    const wasCollecting = this.#state === "collecting";
    this.#drop();
    if (!wasCollecting) sink.onCancel(reason);
    else this.#record.finish(outcomeOfCancel(reason), "request");
  }

  onWritable(): void {
    if (this.sink !== this) this.sink.onWritable();
  }

  /** The proxy is closing. */
  cancel(reason: CancelReason): void {
    if (this.#state !== "collecting") return;
    this.onCancel(reason);
    this.#stream.abort();
  }

  // The reader's side (EdgeStream).

  consumed(bytes: number): void {
    this.#given -= bytes;
    this.#feed();
  }

  respond(head: ResponseHead, end: boolean): void {
    this.#stream.respond(head, end);
    if (end) this.#drop();
  }

  write(chunk: Buffer, last: boolean): boolean {
    if (last) this.#drop();
    return this.#stream.write(chunk, last);
  }

  end(trailers?: readonly HeaderField[]): void {
    this.#drop();
    this.#stream.end(trailers);
  }

  abort(): void {
    this.#drop();
    this.#stream.abort();
  }

  #feed(): void {
    // A reader that takes at once comes back here from within.
    if (this.#isFeeding || this.#isFed) return;
    this.#isFeeding = true;
    while (this.#state === "replaying" && this.#given < REPLAY_WINDOW_BYTES) {
      const chunk = this.#bytes.shift();
      if (chunk === undefined) {
        this.#isFed = true;
        this.sink.onEnd([]);
        break;
      }
      this.#kept.held -= chunk.length;
      this.#given += chunk.length;
      this.sink.onData(chunk);
    }
    this.#isFeeding = false;
  }

  #tooLong(): void {
    this.#refuse();
    // Length Required (RFC 9110 § 15.5.12); the origin's, as the edge would put a page of its own in place of the connector's.
    this.#stream.respond({ status: 411, headers: [], contentLength: undefined, source: "origin" }, true);
    this.#record.status = 411;
    const problem = `a request without Content-Length has more than ${MAX_KEPT_BODY_BYTES} bytes, and disableChunkedEncoding keeps no more`;
    this.#record.finish("bad-request", "request", new BadRequestError(problem));
  }

  #tooMany(): void {
    this.#refuse();
    this.#stream.abort();
    this.#record.status = 502;
    const problem = `disableChunkedEncoding keeps no more than ${MAX_KEPT_BYTES} bytes of all requests`;
    this.#record.finish("memory-limit", "request", new BadRequestError(problem));
  }

  #refuse(): void {
    this.#drop();
    this.#stream.sink = discardingSink(this.#request);
  }

  #drop(): void {
    this.#state = "over";
    for (let chunk = this.#bytes.shift(); chunk !== undefined; chunk = this.#bytes.shift()) {
      this.#kept.held -= chunk.length;
    }
  }
}
