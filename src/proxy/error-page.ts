/** The owner's own page in place of the connector's empty 502, 503 and 504, for visitors with a browser. */
import { HeaderField } from "../protocol/bytes/header-field.ts";
import type {
  EdgeStream,
  ErrorPage,
  HttpRequest,
  ResponseHead,
  ResponseSource,
  StreamSink,
  WebSocketRequest,
} from "../types.ts";

const PAGE_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

/** What `EdgeStream.abort` answers before the head. */
const BAD_GATEWAY = 502;

/** Gives the request a stream that shows the page, if there is one and the visitor takes HTML; else changes nothing. */
export function withErrorPage<T extends HttpRequest | WebSocketRequest>(request: T, page: ErrorPage | undefined): T {
  if (page === undefined || request.kind !== "http" || !acceptsHtml(request)) return request;
  return { ...request, stream: new PagedStream(request.stream, page, request.method === "HEAD") };
}

/** Ends a stream that has no answer yet with a status and nothing else; it is the connector's own, whatever `source` says. */
export function answerEmpty(stream: EdgeStream, status: number, source: ResponseSource): void {
  if (stream instanceof PagedStream && PAGE_STATUSES.has(status)) stream.showPage(status);
  // As cloudflared: only what is the connector's own for the edge too has a length.
  else stream.respond({ status, headers: [], contentLength: source === "origin" ? undefined : 0, source }, true);
}

/** `*` alone is what programs send. */
function acceptsHtml({ headers }: HttpRequest): boolean {
  return headers.some(
    ({ name, value }) =>
      name.length === 6 &&
      name.toLowerCase() === "accept" &&
      value
        .split(",")
        .some((range) => /^\s*(?:text\/html|application\/xhtml\+xml)\s*(?:;(?!.*\bq=0(?:\.0*)?\s*$)|$)/i.test(range)),
  );
}

class PagedStream implements EdgeStream {
  readonly bodyless: boolean;
  readonly #stream: EdgeStream;
  readonly #page: ErrorPage;
  readonly #isHead: boolean;
  #responded = false;

  constructor(stream: EdgeStream, page: ErrorPage, isHead: boolean) {
    this.#stream = stream;
    this.#page = page;
    this.#isHead = isHead;
    this.bodyless = stream.bodyless;
  }

  get sink(): StreamSink {
    return this.#stream.sink;
  }

  set sink(sink: StreamSink) {
    this.#stream.sink = sink;
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  respond(head: ResponseHead, end: boolean): void {
    if (end && !this.#responded && head.source === "connector" && PAGE_STATUSES.has(head.status)) {
      this.showPage(head.status);
      return;
    }
    this.#responded = true;
    this.#stream.respond(head, end);
  }

  write(chunk: Buffer, last: boolean): boolean {
    return this.#stream.write(chunk, last);
  }

  end(trailers?: readonly HeaderField[]): void {
    this.#stream.end(trailers);
  }

  abort(): void {
    if (this.#responded) this.#stream.abort();
    else this.showPage(BAD_GATEWAY);
  }

  showPage(status: number): void {
    if (this.#responded) return;
    this.#responded = true;
    const { body, contentType } = this.#page;
    const headers = [
      new HeaderField("Content-Type", contentType),
      new HeaderField("Cache-Control", "no-store"),
      new HeaderField("Content-Length", String(body.length)),
    ];
    const bodyless = this.#isHead || body.length === 0;
    // As the origin's: the edge puts a page of its own in the place of the connector's answers.
    this.#stream.respond({ status, headers, contentLength: body.length, source: "origin" }, bodyless);
    if (!bodyless) this.#stream.write(body, true);
  }
}
