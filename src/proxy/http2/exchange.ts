/** One request to an origin over HTTP/2, and its response: both sides are streams with windows, so that each passes the other's on. */
import { ErrorCode, type Http2Stream, type ResponseHeadFields, type StreamCancel } from "../../protocol/http2/types.ts";
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import type {
  CancelReason,
  EdgeStream,
  HttpRequest,
  OriginRequestOptions,
  OutcomeClass,
  RequestPhase,
  StreamSink,
} from "../../types.ts";
import type { ActiveRequest } from "../active-requests.ts";
import { BadRequestError } from "../bad-request.ts";
import { answerFailure, failureStatus } from "../direct-answers.ts";
import { headerValue } from "../header-value.ts";
import { connectionError, OriginError } from "../origin-errors.ts";
import { bodyFraming, type RequestFields } from "../request-fields.ts";
import { outcomeOfCancel, type RequestRecord } from "../request-record.ts";
import { forwardedTrailers, isIdempotent } from "../request-traits.ts";
import { ResponseClock } from "../response-clock.ts";
import type { OriginSession, SessionUser } from "./session.ts";

export interface Http2Context {
  readonly session: OriginSession;
  readonly fields: RequestFields;
  readonly options: OriginRequestOptions;
}

/** The origin can't have acted on the request, and no byte of its body was given out: who takes it instead, if anyone does. */
export type Elsewhere = (request: HttpRequest, http1: boolean) => boolean;

/** About one hop of HTTP/1.1 only (RFC 9113 § 8.2.2), or said by pseudo fields. What `expect` asks for, the stream's window does. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  "connection",
  "expect",
  "host",
  "http2-settings",
  "transfer-encoding",
]);

function indexing(name: string): "index" | "name" | "never" {
  switch (name) {
    case "authorization":
    case "cookie":
      return "never";
    case "cf-ray":
    case "content-length":
    case "cf-connecting-ip":
    case "x-forwarded-for":
      return "name";
    default:
      return "index";
  }
}

export class Http2Exchange implements StreamSink, ActiveRequest {
  readonly #context: Http2Context;
  readonly #request: HttpRequest;
  readonly #edge: EdgeStream;
  readonly #record: RequestRecord;
  readonly #elsewhere: Elsewhere;
  readonly #clock: ResponseClock | undefined;
  #origin: Http2Stream | undefined;
  /** Of the visitor's body: something has come, its end counted. */
  #touched = false;
  #responded = false;
  /** The response head has ended the stream. */
  #bodyless = false;
  /** The session had carried requests before: the origin may have left without our knowing. */
  #isReused = false;
  #done = false;
  /** Given to the origin's stream, which has no room for it yet; and to the visitor's. */
  #owedToEdge = 0;
  #owedToOrigin = 0;

  constructor(context: Http2Context, request: HttpRequest, record: RequestRecord, elsewhere: Elsewhere) {
    this.#context = context;
    this.#request = request;
    this.#edge = request.stream;
    this.#record = record;
    this.#elsewhere = elsewhere;
    const { where } = context.session.target;
    this.#clock = ResponseClock.create(context.options, where, (error) => this.#fail(error));
  }

  /** Throws, before anything was sent, when the request can't be written. */
  start(): void {
    const { session, fields } = this.#context;
    const request = this.#request;
    const { method } = request;
    if (method === "CONNECT") throw new BadRequestError("CONNECT can't be sent to an origin over HTTP/2");
    const list = fields.list(request, bodyFraming(request));
    const scheme = session.target.tls === undefined ? "http" : "https";
    const path = request.path === "" ? "/" : request.path;
    const authority = headerValue(list, "host") ?? "";
    this.#origin = session.request(
      (encoder) => {
        encoder.pseudo(method, scheme, authority, path);
        for (const field of list) {
          const name = field.name.toLowerCase();
          if (!NOT_FORWARDED.has(name)) encoder.field(name, field.value.trim(), indexing(name));
        }
      },
      this.#edge.bodyless,
      this.#fromOrigin,
    );
    if (this.#origin === undefined) throw new OriginError("origin-refused", "request", "the origin has no room");
    this.#isReused = session.requests++ > 0;
    if (this.#edge.bodyless) this.#clock?.requestSent();
  }

  // The visitor's side (StreamSink).

  onData(chunk: Buffer): void {
    const origin = this.#origin;
    if (this.#done || origin === undefined) {
      this.#edge.consumed(chunk.length);
      return;
    }
    this.#touched = true;
    this.#clock?.moved();
    if (origin.write(chunk, false)) this.#edge.consumed(chunk.length);
    else this.#owedToEdge += chunk.length;
  }

  onEnd(trailers: readonly HeaderField[]): void {
    if (this.#done) return;
    this.#touched = true;
    this.#origin?.end(trailers.length === 0 ? undefined : forwardedTrailers(trailers));
    this.#clock?.requestSent();
  }

  onCancel(reason: CancelReason): void {
    if (this.#done) return;
    this.#finish(outcomeOfCancel(reason), this.#phase());
  }

  onWritable(): void {
    const owed = this.#owedToOrigin;
    this.#owedToOrigin = 0;
    if (owed > 0) this.#origin?.consumed(owed);
  }

  /** The proxy is closing. */
  cancel(reason: CancelReason): void {
    if (this.#done) return;
    this.onCancel(reason);
    this.#edge.abort();
  }

  // The origin's side.

  readonly #fromOrigin: SessionUser = {
    onResponse: (head, end) => this.#onResponse(head, end),
    onData: (chunk) => {
      this.#clock?.moved();
      if (this.#done || this.#edge.write(chunk, false)) this.#origin?.consumed(chunk.length);
      else this.#owedToOrigin += chunk.length;
    },
    onEnd: (trailers) => this.#onResponseEnd(trailers),
    onWritable: () => this.#creditEdge(),
    onCancel: (cancel) => this.#onOriginCancel(cancel),
    onLost: (error) => {
      if (this.#done) return;
      const { session } = this.#context;
      const isSafe = this.#isReused && this.#edge.bodyless && isIdempotent(this.#request);
      if (!isSafe || !this.#goElsewhere(false)) this.#fail(connectionError(error, this.#phase(), session.target.where));
    },
  };

  #onResponse({ status, fields }: ResponseHeadFields, end: boolean): void {
    if (this.#done) return;
    this.#responded = true;
    this.#bodyless = end;
    this.#record.status = status;
    this.#clock?.responded(false);
    const length = headerValue(fields, "content-length");
    const contentLength = length === undefined ? undefined : Number(length);
    this.#edge.respond({ status, headers: fields, contentLength, source: "origin" }, end);
  }

  #onResponseEnd(trailers: readonly HeaderField[]): void {
    if (this.#done) return;
    if (trailers.length > 0) this.#edge.end(forwardedTrailers(trailers));
    else if (!this.#bodyless) this.#edge.end();
    this.#finish("ok");
  }

  #onOriginCancel(cancel: StreamCancel): void {
    if (this.#done) return;
    const { session } = this.#context;
    const { where } = session.target;
    switch (cancel.kind) {
      case "connection-closed":
        session.lose(this.#fromOrigin);
        return;
      case "memory-limit":
        this.#abort("memory-limit", this.#phase(), undefined);
        return;
      case "protocol-error":
        this.#fail(new OriginError("origin-protocol", this.#phase(), `${where} broke HTTP/2 in its answer`));
        return;
      case "peer-reset": {
        const isRefused = cancel.code === ErrorCode.REFUSED_STREAM || cancel.code === ErrorCode.HTTP_1_1_REQUIRED;
        if (isRefused && this.#goElsewhere(cancel.code === ErrorCode.HTTP_1_1_REQUIRED)) return;
        const code = `code ${cancel.code}`;
        this.#fail(new OriginError("origin-reset", this.#phase(), `${where} reset the HTTP/2 stream (${code})`));
      }
    }
  }

  #goElsewhere(http1: boolean): boolean {
    if (this.#responded || (this.#touched && !this.#edge.bodyless)) return false;
    this.#done = true;
    this.#clock?.stop();
    if (this.#elsewhere(this.#request, http1)) return true;
    this.#done = false;
    return false;
  }

  #creditEdge(): void {
    const owed = this.#owedToEdge;
    this.#owedToEdge = 0;
    if (owed > 0) this.#edge.consumed(owed);
  }

  #phase(): RequestPhase {
    if (this.#responded) return "response-body";
    return this.#edge.bodyless || this.#origin?.localEnded === true ? "response-head" : "request";
  }

  #fail(error: OriginError): void {
    if (!this.#done) this.#abort(error.outcome, error.phase, error);
  }

  #abort(outcome: OutcomeClass, phase: RequestPhase, error: Error | undefined): void {
    const status = failureStatus(outcome);
    if (!this.#responded) this.#record.status = status;
    this.#finish(outcome, phase, error);
    if (this.#responded) this.#edge.abort();
    else answerFailure(this.#edge, status);
  }

  #finish(outcome: OutcomeClass, phase?: RequestPhase, error?: Error): void {
    this.#done = true;
    this.#clock?.stop();
    const origin = this.#origin;
    // The answer is complete, or not wanted: neither is the rest of the request.
    if (origin !== undefined && !(origin.localEnded && origin.remoteEnded)) origin.reset(ErrorCode.CANCEL);
    this.#creditEdge();
    this.onWritable();
    this.#context.session.streamEnded();
    this.#record.finish(outcome, phase, error);
  }
}
