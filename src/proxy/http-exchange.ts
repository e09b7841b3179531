/**
 * One request to an origin over HTTP/1.1 and its response: everything that happens on the edge's stream and on the origin's
 * socket in between comes together here. A WebSocket is the same until the origin answers 101; from then on it is a splice.
 */
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import type { ResponseHeadMessage } from "../protocol/http1/response-head.ts";
import type { ResponseHandler } from "../protocol/http1/response-parser.ts";
import type {
  CancelReason,
  EdgeStream,
  HttpRequest,
  OriginRequestOptions,
  OutcomeClass,
  RequestPhase,
  StreamSink,
  WebSocketRequest,
} from "../types.ts";
import type { ActiveRequest } from "./active-requests.ts";
import { BadRequestError } from "./bad-request.ts";
import type { ConnectionUser } from "./origin-connection.ts";
import { answerFailure, failureStatus } from "./direct-answers.ts";
import { connectionError, OriginError } from "./origin-errors.ts";
import type { HttpConnection, OriginPool } from "./origin-pool.ts";
import type { OriginTarget } from "./origin-target.ts";
import { type BodyFraming, bodyFraming, type RequestFields } from "./request-fields.ts";
import { outcomeOfCancel, type RequestRecord } from "./request-record.ts";
import { expectsContinue, forwardedTrailers, isIdempotent } from "./request-traits.ts";
import { ResponseClock } from "./response-clock.ts";
import { Splice } from "./splice.ts";
import { Upload, type UploadResources } from "./upload.ts";
import type { NextOrigin } from "./wire-route.ts";

export interface HttpContext {
  readonly target: OriginTarget;
  readonly pool: OriginPool;
  readonly fields: RequestFields;
  readonly resources: UploadResources;
  readonly options: OriginRequestOptions;
}

/** How long a visitor that waits for `100 Continue` is made to wait when the origin says nothing (ingress § 5.3). */
const EXPECT_CONTINUE_MS = 1_000;

export class HttpExchange implements StreamSink, ConnectionUser, ResponseHandler, ActiveRequest {
  readonly #context: HttpContext;
  readonly #request: HttpRequest | WebSocketRequest;
  readonly #stream: EdgeStream;
  readonly #record: RequestRecord;
  readonly #framing: BodyFraming;
  readonly #next: NextOrigin | undefined;
  readonly #clock: ResponseClock | undefined;
  #head = "";
  #http: HttpConnection | undefined;
  /** Undefined when no body follows. */
  #upload: Upload | undefined;
  /** Of a declared length; undefined when none was. */
  #bodyLeft: number | undefined;
  #expectTimer: NodeJS.Timeout | undefined;
  #retried = false;
  #responded = false;
  /** The response head has ended the stream. */
  #bodyless = false;
  #complete = false;
  #done = false;
  /** The current read's body bytes until its end is reached: they may carry the end of the response. */
  #pending: Buffer | undefined;
  #trailers: readonly HeaderField[] = [];
  #splice: Splice | undefined;

  constructor(
    context: HttpContext,
    request: HttpRequest | WebSocketRequest,
    record: RequestRecord,
    next: NextOrigin | undefined,
  ) {
    this.#context = context;
    this.#request = request;
    this.#stream = request.stream;
    this.#record = record;
    this.#next = next;
    this.#framing = bodyFraming(request);
    this.#clock = ResponseClock.create(context.options, context.target.where, (error) => this.#failed(error));
    if (this.#framing.kind === "length") this.#bodyLeft = this.#framing.length;
  }

  /** Throws, before anything was sent, when the request can't be written. @param dialled an open connection to use */
  start(dialled?: HttpConnection): void {
    const { pool, fields, target } = this.#context;
    this.#head = fields.head(this.#request, this.#framing);
    const { bodyless } = this.#stream;
    if (bodyless && this.#bodyLeft !== undefined && this.#bodyLeft > 0) {
      throw new BadRequestError("the request has a Content-Length but no body");
    }
    if (!bodyless || this.#request.kind === "websocket") this.#upload = this.#newUpload();
    if (bodyless) this.#upload?.end([]);
    const open = dialled ?? pool.acquire(target, this);
    if (open === undefined) {
      this.#http = pool.dial(target, this);
      return;
    }
    open.connection.user = this;
    this.#http = open;
    this.#send(open);
  }

  #newUpload(): Upload {
    const upload: Upload = new Upload(this.#stream, this.#context.resources, this.#framing.kind === "chunked", () => {
      if (upload !== this.#upload) return;
      this.#splice?.uploadFinished();
      if (this.#request.kind === "http") this.#clock?.requestSent();
    });
    return upload;
  }

  #send(http: HttpConnection): void {
    const isWebSocket = this.#request.kind === "websocket";
    const { socket } = http.connection;
    http.parser.begin(this, this.#request.method, isWebSocket);
    const upload = this.#upload;
    if (upload === undefined || isWebSocket) {
      // A visitor's WebSocket bytes wait for the origin's 101.
      socket.write(this.#head, "latin1");
      this.#clock?.requestSent();
      return;
    }
    const hold = expectsContinue(this.#request);
    if (hold) this.#expectTimer = setTimeout(() => this.#continue(), EXPECT_CONTINUE_MS);
    upload.start(socket, this.#head, hold);
  }

  #continue(): void {
    if (this.#expectTimer === undefined) return;
    clearTimeout(this.#expectTimer);
    this.#expectTimer = undefined;
    this.#upload?.release();
  }

  // The visitor's side (StreamSink).

  onData(chunk: Buffer): void {
    if (this.#done) {
      this.#stream.consumed(chunk.length);
      return;
    }
    this.#clock?.moved();
    if (this.#splice !== undefined) {
      this.#splice.fromVisitor(chunk);
      return;
    }
    if (this.#bodyLeft !== undefined) {
      this.#bodyLeft -= chunk.length;
      if (this.#bodyLeft < 0) {
        this.#stream.consumed(chunk.length);
        this.#badRequest(new BadRequestError("the request body is longer than its Content-Length"));
        return;
      }
    }
    this.#upload?.push(chunk);
  }

  onEnd(trailers: readonly HeaderField[]): void {
    if (this.#done) return;
    if (this.#splice !== undefined) {
      this.#splice.visitorEnd();
      return;
    }
    if (this.#bodyLeft !== undefined && this.#bodyLeft > 0) {
      this.#badRequest(new BadRequestError("the request body is shorter than its Content-Length"));
      return;
    }
    try {
      this.#upload?.end(trailers);
    } catch (error) {
      this.#badRequest(error instanceof Error ? error : new Error(String(error)));
    }
  }

  onCancel(reason: CancelReason): void {
    if (this.#done) return;
    this.#finish(outcomeOfCancel(reason), this.#phase());
    this.#http?.connection.destroy();
  }

  onWritable(): void {
    if (!this.#done) this.#http?.connection.resume();
  }

  /** The proxy is closing. */
  cancel(reason: CancelReason): void {
    if (this.#done) return;
    this.onCancel(reason);
    this.#stream.abort();
  }

  // The origin's side (ConnectionUser).

  onOpen(): void {
    this.#next?.reached();
    if (this.#http !== undefined) this.#send(this.#http);
  }

  onBytes(bytes: Buffer): void {
    this.#clock?.moved();
    if (this.#splice !== undefined) {
      this.#splice.fromOrigin(bytes);
      return;
    }
    try {
      this.#http?.parser.receive(bytes);
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#deliver();
  }

  onOriginEnd(): void {
    if (this.#splice !== undefined) {
      this.#splice.originEnd();
      return;
    }
    try {
      this.#http?.parser.finish();
    } catch (error) {
      if (!this.#retry()) this.#failed(error);
      return;
    }
    this.#deliver();
  }

  onGone(error: Error): void {
    if (this.#splice !== undefined && !this.#splice.brokeOff()) return;
    if (!this.#passOn(error) && !this.#retry()) this.#failed(error);
  }

  // The response (ResponseHandler).

  onInterim(status: number): void {
    if (status === 100) this.#continue();
  }

  onHead(head: ResponseHeadMessage, bodyless: boolean): void {
    if (this.#done) return;
    const { status, fields, contentLength } = head;
    clearTimeout(this.#expectTimer);
    this.#expectTimer = undefined;
    this.#record.status = status;
    this.#responded = true;
    this.#bodyless = bodyless;
    this.#clock?.responded(status === 101);
    // Over a connection of the pool, too.
    this.#next?.reached();
    // From here on nothing is sent again; a response may last for days.
    this.#head = "";
    this.#stream.respond({ status, headers: fields, contentLength, source: "origin" }, bodyless);
    if (this.#request.kind !== "websocket") return;
    const { connection } = this.#http ?? {};
    if (status === 101 && connection !== undefined && this.#upload !== undefined) {
      this.#splice = new Splice(
        this.#stream,
        connection,
        this.#upload,
        () => this.#finish("ok"),
        (error) => this.#failed(error),
      );
      this.#upload.start(connection.socket, "", false);
    } else {
      // Refused: what the visitor sends has no reader.
      this.#upload?.stop();
    }
  }

  onBody(view: Buffer): void {
    if (this.#done) return;
    if (this.#splice !== undefined) {
      this.#splice.fromOrigin(view);
      return;
    }
    this.#pending = view;
  }

  onComplete(trailers: readonly HeaderField[]): void {
    this.#complete = true;
    this.#trailers = trailers.length === 0 ? trailers : forwardedTrailers(trailers);
  }

  /** At the end of a read: hands on what is left of it, and the end of the response with it. */
  #deliver(): void {
    if (this.#done) return;
    const pending = this.#pending;
    if (!this.#complete) {
      if (pending === undefined) return;
      this.#pending = undefined;
      if (!this.#stream.write(pending, false)) this.#http?.connection.pause();
      return;
    }
    this.#pending = undefined;
    const trailers = this.#trailers;
    if (trailers.length > 0) {
      if (pending !== undefined) this.#stream.write(pending, false);
      this.#stream.end(trailers);
    } else if (pending !== undefined) {
      this.#stream.write(pending, true);
    } else if (!this.#bodyless) {
      this.#stream.end();
    }
    this.#finish("ok");
    this.#letGo();
  }

  /** The response has ended: the connection serves the next request, if both sides are where that one would begin. */
  #letGo(): void {
    const http = this.#http;
    if (http === undefined) return;
    const requestSent = this.#upload === undefined || this.#upload.finished || this.#request.kind === "websocket";
    if (requestSent && http.parser.reusable) this.#context.pool.release(http);
    else http.connection.destroy();
  }

  /** There was no connection, so that nothing has been sent: another origin may take the request, if the visitor's bytes are all still to come. */
  #passOn(error: Error): boolean {
    const next = this.#next;
    if (next === undefined || this.#done || !(error instanceof OriginError) || this.#http?.connection.isOpen === true) {
      return false;
    }
    if (!this.#stream.bodyless && this.#upload?.untouched === false) return false;
    this.#done = true;
    this.#clock?.stop();
    if (next.unreachable(error, this.#request)) return true;
    this.#done = false;
    return false;
  }

  /** A pooled connection that the origin had closed already: the request goes out again on a new one, once. */
  #retry(): boolean {
    const http = this.#http;
    if (http === undefined || !http.reused || http.parser.started || this.#retried || this.#done) return false;
    const hasBody = this.#upload !== undefined && this.#request.kind === "http";
    if (hasBody && this.#upload?.untouched !== true) return false;
    // No origin can have acted on a request whose body has yet to come; one of a declared length of 0 is whole without it.
    const isIncomplete = hasBody && this.#bodyLeft !== 0;
    if (!isIncomplete && !isIdempotent(this.#request)) return false;
    this.#retried = true;
    clearTimeout(this.#expectTimer);
    this.#clock?.stop();
    http.connection.destroy();
    if (hasBody) this.#upload = this.#newUpload();
    try {
      this.#http = this.#context.pool.dial(this.#context.target, this);
    } catch (error) {
      this.#failed(error);
    }
    return true;
  }

  #phase(): RequestPhase {
    if (this.#splice !== undefined) return "splice";
    if (this.#responded) return "response-body";
    if (this.#http === undefined || !this.#http.connection.isOpen) return "connect";
    return this.#upload === undefined || this.#upload.finished ? "response-head" : "request";
  }

  #failed(cause: unknown): void {
    if (this.#done) return;
    const failure = cause instanceof Error ? cause : new Error(String(cause));
    const error = connectionError(failure, this.#phase(), this.#context.target.where);
    this.#abort(error.outcome, error.phase, error);
  }

  #badRequest(error: Error): void {
    this.#abort("bad-request", "request", error);
  }

  #abort(outcome: OutcomeClass, phase: RequestPhase, error: Error): void {
    const status = failureStatus(outcome);
    if (!this.#responded) this.#record.status = status;
    this.#finish(outcome, phase, error);
    this.#http?.connection.destroy();
    if (this.#responded) this.#stream.abort();
    else answerFailure(this.#stream, status);
  }

  #finish(outcome: OutcomeClass, phase?: RequestPhase, error?: Error): void {
    this.#done = true;
    this.#pending = undefined;
    clearTimeout(this.#expectTimer);
    this.#clock?.stop();
    this.#splice?.stop();
    this.#upload?.stop();
    this.#record.finish(outcome, phase, error);
  }
}
