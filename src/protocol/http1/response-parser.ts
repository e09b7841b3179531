/**
 * The responses of one connection to an origin, one after the other (RFC 9112): bytes go in, calls on a handler come out.
 * Every violation throws an Http1ResponseError, after which the connection is of no further use.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { ChunkedBody } from "./chunked-body.ts";
import { Http1ResponseError, malformed } from "./errors.ts";
import type { HeaderLineCache } from "./header-line.ts";
import { MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES } from "./limits.ts";
import { matchPrefix, parseResponseHead, type ResponseHeadMessage } from "./response-head.ts";
import { Section } from "./section.ts";

/** Calls come in this order: onInterim*, onHead, onBody*, onComplete. After a 101, onBody gives the raw bytes of the new protocol. */
export interface ResponseHandler {
  /** A 1xx other than 101; its fields are not forwarded. */
  onInterim(status: number): void;
  /** `bodyless` = onComplete follows at once. */
  onHead(head: ResponseHeadMessage, bodyless: boolean): void;
  /** A view of the bytes given to `receive`; at most one a call of it. */
  onBody(view: Buffer): void;
  onComplete(trailers: readonly HeaderField[]): void;
}

const State = { IDLE: 0, HEAD: 1, LENGTH: 2, CHUNKED: 3, UNTIL_CLOSE: 4, UPGRADED: 5 } as const;
type State = (typeof State)[keyof typeof State];

const NO_TRAILERS: readonly HeaderField[] = [];
const UNATTENDED: ResponseHandler = { onInterim() {}, onHead() {}, onBody() {}, onComplete() {} };

export class ResponseParser {
  readonly #lines: HeaderLineCache;
  readonly #head = new Section("response head");
  #chunked: ChunkedBody | undefined;
  #handler = UNATTENDED;
  #state: State = State.IDLE;
  #method = "";
  #upgrade = false;
  /** Bytes of `HTTP/1.` seen: an answer in another protocol is refused at its first bytes. */
  #matched = 0;
  #headBytes = 0;
  #interims = 0;
  #left = 0;
  #persistent = false;
  #excess = false;
  /** A byte of the response has arrived. */
  started = false;
  /** What the origin's last response said of its idle time. */
  keepAliveSeconds: number | undefined;

  constructor(lines: HeaderLineCache) {
    this.#lines = lines;
  }

  /** The last response has ended, nothing came behind it, and the origin keeps the connection open. */
  get reusable(): boolean {
    return this.#state === State.IDLE && this.#persistent && !this.#excess;
  }

  /** A request was sent: expects its response. `upgrade` = a 101 is an answer to it. */
  begin(handler: ResponseHandler, method: string, upgrade: boolean): void {
    this.#handler = handler;
    this.#state = State.HEAD;
    this.#method = method;
    this.#upgrade = upgrade;
    this.#matched = 0;
    this.#headBytes = 0;
    this.#interims = 0;
    this.#persistent = false;
    this.#head.clear();
    this.started = false;
    this.keepAliveSeconds = undefined;
  }

  /** Bytes of chunked bodies may be moved within `bytes`. */
  receive(bytes: Buffer): void {
    if (bytes.length > 0) this.started = true;
    let at = 0;
    while (at < bytes.length) {
      switch (this.#state) {
        case State.IDLE:
          // Bytes that no request asked for: the connection must not carry another one.
          this.#excess = true;
          return;
        case State.HEAD:
          at = this.#receiveHead(bytes, at);
          break;
        case State.LENGTH: {
          const end = Math.min(bytes.length, at + this.#left);
          this.#left -= end - at;
          this.#handler.onBody(view(bytes, at, end));
          at = end;
          if (this.#left === 0) this.#complete(NO_TRAILERS);
          break;
        }
        case State.CHUNKED: {
          const body = this.#chunkedBody();
          at = body.receive(bytes, at, this.#handler);
          if (body.done) this.#complete(body.trailers);
          break;
        }
        case State.UNTIL_CLOSE:
        case State.UPGRADED:
          this.#handler.onBody(view(bytes, at, bytes.length));
          return;
      }
    }
  }

  /** The origin ended its side: completes a body that lasts until then, and throws on a response that was cut off. */
  finish(): void {
    this.#persistent = false;
    switch (this.#state) {
      case State.UNTIL_CLOSE:
        this.#complete(NO_TRAILERS);
        break;
      case State.HEAD:
        throw new Http1ResponseError(
          "truncated",
          this.started
            ? "the origin closed the connection before its response head was complete"
            : "the origin closed the connection without a response, as a server that speaks TLS does where its URL says http://",
        );
      case State.LENGTH:
      case State.CHUNKED:
        throw new Http1ResponseError(
          "truncated",
          "the origin closed the connection in the middle of its response body",
        );
      case State.IDLE:
      case State.UPGRADED:
        break;
    }
  }

  #receiveHead(bytes: Buffer, at: number): number {
    this.#matched = matchPrefix(bytes, at, this.#matched);
    const end = this.#head.receive(bytes, at, MAX_HEAD_BYTES - this.#headBytes);
    if (end < 0) return bytes.length;
    this.#matched = 0;
    const text = this.#head.text;
    this.#headBytes += text.length;
    this.#headComplete(parseResponseHead(text, this.#lines));
    return end;
  }

  #headComplete(head: ResponseHeadMessage): void {
    const { status } = head;
    if (status === 101) {
      if (!this.#upgrade) throw malformed("the origin switched protocols (101) without being asked to");
      this.#state = State.UPGRADED;
      this.#handler.onHead(head, false);
      return;
    }
    if (status < 200) {
      if (++this.#interims > MAX_INTERIM_RESPONSES) {
        throw new Http1ResponseError(
          "limit",
          `the origin sent more than ${MAX_INTERIM_RESPONSES} interim (1xx) responses`,
        );
      }
      this.#handler.onInterim(status);
      return;
    }
    if (this.#method === "CONNECT" && status < 300) {
      // RFC 9112 § 6.3: the connection would be a tunnel from here on, which nobody can use.
      throw malformed("the origin opened a tunnel for a CONNECT request");
    }
    this.#finalHead(head);
  }

  /** Decides the framing of the body (RFC 9112 § 6.3). */
  #finalHead(head: ResponseHeadMessage): void {
    const { status } = head;
    this.#persistent = head.persistent;
    this.keepAliveSeconds = head.keepAliveSeconds;
    if (this.#method === "HEAD" || status === 204 || status === 304) {
      this.#handler.onHead(head, true);
      this.#complete(NO_TRAILERS);
    } else if (head.chunked) {
      this.#state = State.CHUNKED;
      this.#chunkedBody().begin();
      this.#handler.onHead(head, false);
    } else if (head.contentLength === undefined) {
      this.#persistent = false;
      this.#state = State.UNTIL_CLOSE;
      this.#handler.onHead(head, false);
    } else {
      this.#state = State.LENGTH;
      this.#left = head.contentLength;
      this.#handler.onHead(head, head.contentLength === 0);
      if (head.contentLength === 0) this.#complete(NO_TRAILERS);
    }
  }

  #chunkedBody(): ChunkedBody {
    this.#chunked ??= new ChunkedBody(this.#lines);
    return this.#chunked;
  }

  #complete(trailers: readonly HeaderField[]): void {
    const handler = this.#handler;
    this.#state = State.IDLE;
    this.#handler = UNATTENDED;
    handler.onComplete(trailers);
  }
}

function view(bytes: Buffer, start: number, end: number): Buffer {
  return start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);
}
