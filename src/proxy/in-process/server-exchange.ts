/**
 * One request on its way through an http.Server, over a connection that only this process sees. The server reads and writes
 * real HTTP/1.1, so whatever works behind a port works here: message classes of its own, upgrades, interim responses,
 * trailers, time-outs, and bytes that a handler writes to the socket by hand.
 */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import { Http1RequestError } from "../../protocol/http1/errors.ts";
import type { ResponseHeadMessage } from "../../protocol/http1/response-head.ts";
import { type ResponseHandler, ResponseParser } from "../../protocol/http1/response-parser.ts";
import type {
  CancelReason,
  EdgeStream,
  HttpRequest,
  OutcomeClass,
  RequestPhase,
  StreamSink,
  WebSocketRequest,
} from "../../types.ts";
import { connectionError, OriginError } from "../origin-errors.ts";
import { bodyFraming } from "../request-fields.ts";
import { outcomeOfCancel } from "../request-record.ts";
import type { Endpoint } from "./endpoint.ts";
import { HandlerError } from "./errors.ts";
import { answerPlainly } from "./plain-answer.ts";
import { chunkOf, lastChunk, requestHead } from "./request-text.ts";
import type { InProcessContext } from "./serve.ts";
import { InProcessSocket, type SocketPeer } from "./socket.ts";

const WHERE = "the origin in this process";

/** How long a handler may go on with a response that is complete, or with a request whose visitor has all of the answer. */
const LINGER_MS = 5_000;

/** Fields about the connection that only this process sees. */
const HOP_FIELDS: ReadonlySet<string> = new Set(["connection", "keep-alive"]);

type State = "response-head" | "response-body" | "splice" | "answered" | "failed";

export class ServerExchange implements StreamSink, SocketPeer, ResponseHandler {
  readonly #request: HttpRequest | WebSocketRequest;
  readonly #stream: EdgeStream;
  readonly #endpoint: Endpoint;
  readonly #context: InProcessContext;
  readonly #parser: ResponseParser;
  readonly #socket: InProcessSocket;
  readonly #chunked: boolean;
  /** Bytes of the body that the head has promised and that have not come yet. */
  #bodyLeft: number;
  /** The visitor's side has ended. */
  #received: boolean;
  /** A handler's side of a splice has ended. */
  #sent = false;
  #state: State = "response-head";
  #status = 0;
  #bodyBytes = 0;
  #writable = true;
  /** Bytes that the socket's reader has not taken yet. */
  #owed = 0;
  #linger: NodeJS.Timeout | undefined;
  /** The request ended before its handler did. */
  #abandoned = false;

  constructor(request: HttpRequest | WebSocketRequest, endpoint: Endpoint, context: InProcessContext) {
    this.#request = request;
    this.#stream = request.stream;
    this.#context = context;
    this.#received = request.stream.bodyless;
    const framing = bodyFraming(request);
    this.#chunked = framing.kind === "chunked";
    this.#bodyLeft = framing.kind === "length" ? framing.length : 0;
    this.#parser = new ResponseParser(endpoint.lines);
    this.#socket = new InProcessSocket(this, context.connIndex);
    this.#endpoint = endpoint;
    this.#stream.sink = this;
  }

  start(): void {
    const upgrade = this.#request.kind === "websocket";
    let head: Buffer;
    try {
      head = requestHead(this.#request, this.#context.forwarded);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#parser.begin(this, this.#request.method, upgrade);
    try {
      this.#endpoint.connect(this.#socket);
    } catch (error) {
      // A `connection` listener of the user's server threw.
      this.onHandlerFailed(error);
      return;
    }
    this.#socket.deliver(head);
    if (upgrade && this.#received) this.#endReading();
  }

  // The visitor's side.

  onData(chunk: Buffer): void {
    if (this.#over) {
      this.#stream.consumed(chunk.length);
      return;
    }
    // An empty chunk would end a chunked body.
    if (chunk.length === 0) return;
    this.#owed += chunk.length;
    let bytes: Buffer;
    if (this.#chunked) bytes = chunkOf(chunk);
    else {
      if (this.#request.kind === "http" && (this.#bodyLeft -= chunk.length) < 0) {
        this.#refuse(new Http1RequestError("the request's body is longer than its Content-Length"));
        return;
      }
      bytes = Buffer.from(chunk);
    }
    if (this.#socket.deliver(bytes)) this.onRoom();
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.#received = true;
    if (this.#over) return;
    if (this.#request.kind === "websocket") this.#endReading();
    else if (this.#chunked) this.#endChunks(trailers);
    else if (this.#bodyLeft > 0) {
      this.#refuse(new Http1RequestError("the request's body is shorter than its Content-Length"));
    }
  }

  onCancel(reason: CancelReason): void {
    if (this.#over) return;
    this.#finish("failed", outcomeOfCancel(reason));
    this.#socket.destroy();
  }

  onWritable(): void {
    this.#writable = true;
    this.#socket.resumeWriting();
  }

  #endReading(): void {
    this.#socket.once("end", () => this.onRoom());
    this.#socket.push(null);
  }

  #endChunks(trailers: readonly HeaderField[]): void {
    try {
      this.#socket.deliver(lastChunk(trailers));
    } catch (error) {
      this.#refuse(error);
    }
  }

  // The server's side of the socket.

  onRoom(): void {
    const owed = this.#owed;
    if (owed === 0) return;
    this.#owed = 0;
    this.#stream.consumed(owed);
  }

  onBytes(view: Buffer): boolean {
    if (this.#over) return true;
    try {
      this.#parser.receive(view);
    } catch (error) {
      this.#broken(error);
    }
    return this.#over || this.#writable;
  }

  onFinished(): void {
    if (this.#state === "splice") this.#endSplice();
    else this.#closedBy(undefined);
  }

  onClosed(error: Error | undefined, drained: boolean): void {
    clearTimeout(this.#linger);
    if (this.#state === "splice") this.#spliceClosed(error, drained);
    else if (drained && (error === undefined || this.#bodyBytes === 0)) this.#closedBy(error);
    else if (!this.#over) this.#reset(error);
    this.onRoom();
  }

  onHandlerFailed(cause: unknown): void {
    if (this.#state === "failed") return;
    if (this.#state === "answered") {
      // Nobody waits for this request any more, and nothing else would tell the programmer.
      process.emitWarning(
        new HandlerError(`the origin's handler failed after its response had ended: ${String(cause)}`, cause),
      );
      return;
    }
    const error = new HandlerError("the origin's handler failed", cause);
    const { phase } = this;
    if (this.#state === "response-head") {
      this.#answer(500);
      this.#finish("failed", "handler-error", phase, error);
    } else {
      this.#stream.abort();
      this.#finish("failed", "handler-error", phase, error);
    }
    this.#socket.destroy();
  }

  onHandlerSettled(): void {
    if (this.#abandoned) this.#context.abandoned.remove();
  }

  // What the parser finds in the server's bytes.

  onInterim(): void {}

  onHead(head: ResponseHeadMessage, bodyless: boolean): void {
    const { status, contentLength } = head;
    const upgraded = status === 101;
    const headers = upgraded ? head.fields : head.fields.filter(({ name }) => !HOP_FIELDS.has(name.toLowerCase()));
    this.#status = status;
    this.#state = upgraded ? "splice" : "response-body";
    this.#stream.respond({ status, headers, contentLength, source: "origin" }, bodyless);
    if (bodyless) this.#answered();
  }

  onBody(view: Buffer): void {
    if (this.#over) return;
    this.#bodyBytes += view.length;
    this.#writable = this.#stream.write(view, false);
  }

  onComplete(trailers: readonly HeaderField[]): void {
    if (this.#over) return;
    this.#stream.end(trailers.length === 0 ? undefined : trailers);
    this.#answered();
  }

  // Endings.

  get #over(): boolean {
    return this.#state === "answered" || this.#state === "failed";
  }

  get phase(): RequestPhase | undefined {
    return this.#state === "answered" || this.#state === "failed" ? undefined : this.#state;
  }

  /** The visitor has the whole answer; the handler may still be at work. */
  #answered(): void {
    this.#finish("answered", "ok");
    this.onRoom();
    this.#linger = setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }

  /** The server closed: complete for a body that lasts until then, cut off in any other place. */
  #closedBy(cause: Error | undefined): void {
    if (this.#over) return;
    try {
      this.#parser.finish();
    } catch {
      this.#reset(cause);
    }
  }

  /** Half-close: what the visitor still sends reaches the handler. */
  #endSplice(): void {
    if (this.#sent) return;
    this.#sent = true;
    this.#stream.end();
    if (this.#received) this.#finish("answered", "ok");
  }

  #spliceClosed(error: Error | undefined, drained: boolean): void {
    if (error !== undefined || !drained) {
      this.#reset(error);
      return;
    }
    this.#received = true;
    if (this.#sent) this.#finish("answered", "ok");
    else this.#endSplice();
  }

  #reset(cause: Error | undefined): void {
    const text = "the handler closed its socket before the response was complete";
    const { phase } = this;
    this.#abort();
    this.#finish(
      "failed",
      "origin-reset",
      phase,
      new OriginError("origin-reset", phase ?? "response-head", text, cause),
    );
    this.#socket.destroy();
  }

  #broken(cause: unknown): void {
    const { phase } = this;
    const error = connectionError(
      cause instanceof Error ? cause : new Error(String(cause)),
      phase ?? "response-head",
      WHERE,
    );
    this.#abort();
    this.#finish("failed", error.outcome, error.phase, error);
    this.#socket.destroy();
  }

  /** The visitor's request can't be given to any server. */
  #refuse(error: unknown): void {
    if (this.#state === "response-head") this.#answer(400);
    else this.#stream.abort();
    this.#finish("failed", "bad-request", "request", error instanceof Error ? error : new Error(String(error)));
    this.#socket.destroy();
  }

  #answer(status: 400 | 500): void {
    this.#status = status;
    answerPlainly(this.#request, status);
  }

  #abort(): void {
    if (this.#state === "response-head") this.#status = 502;
    this.#stream.abort();
  }

  #finish(state: "answered" | "failed", outcome: OutcomeClass, phase = this.phase, error?: Error): void {
    this.#state = state;
    if (state === "failed" && this.#socket.handlerPending) {
      this.#abandoned = true;
      this.#context.abandoned.add();
    }
    this.#context.report({
      class: outcome,
      status: this.#status,
      ...(phase === undefined || outcome === "ok" ? {} : { phase }),
      ...(error === undefined ? {} : { error }),
    });
  }
}
