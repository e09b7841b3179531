/** An EdgeStream that records what its consumer does, and plays the edge's part: for tests of whatever stands behind a stream. */
import { EventEmitter, once } from "node:events";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";
import type {
  CancelReason,
  EdgeStream,
  HttpRequest,
  ResponseHead,
  StreamSink,
  TcpRequest,
  WebSocketRequest,
} from "../../src/types.ts";

const UNSET: StreamSink = {
  onData() {
    throw new Error("no sink was set");
  },
  onEnd() {
    throw new Error("no sink was set");
  },
  onCancel() {},
  onWritable() {},
};

export interface FakeStreamOptions {
  readonly bodyless?: boolean;
  /** Bytes that `write` takes before it returns false; `drain` makes room. Default: no bound. */
  readonly window?: number;
}

export class FakeStream implements EdgeStream {
  readonly bodyless: boolean;
  sink: StreamSink = UNSET;
  head: ResponseHead | undefined;
  /** Every chunk written, copied, in order. */
  readonly chunks: Buffer[] = [];
  trailers: readonly HeaderField[] = [];
  ended = false;
  aborted = false;
  /** Credit given back by the consumer. */
  credited = 0;
  /** Bytes given to the consumer. */
  given = 0;
  /** Largest amount of given bytes that were not credited yet. */
  peakHeld = 0;
  readonly #events = new EventEmitter();
  readonly #window: number;
  #unread = 0;
  #blocked = false;

  constructor(options: FakeStreamOptions = {}) {
    this.bodyless = options.bodyless ?? false;
    this.#window = options.window ?? Number.POSITIVE_INFINITY;
    this.#events.setMaxListeners(0);
  }

  // The consumer's side.

  consumed(bytes: number): void {
    this.credited += bytes;
    if (this.credited > this.given) throw new Error(`credited ${this.credited} of ${this.given} bytes`);
    this.#events.emit("change");
  }

  respond(head: ResponseHead, end: boolean): void {
    if (this.head !== undefined) throw new Error("responded twice");
    if (this.aborted) throw new Error("responded after abort");
    this.head = head;
    if (end) this.ended = true;
    this.#events.emit("change");
  }

  write(chunk: Buffer, last: boolean): boolean {
    if (this.head === undefined) throw new Error("wrote before the head");
    if (this.ended) throw new Error("wrote after the end");
    if (this.aborted) throw new Error("wrote after abort");
    this.chunks.push(Buffer.from(chunk));
    if (last) this.ended = true;
    this.#unread += chunk.length;
    this.#blocked = this.#unread > this.#window;
    this.#events.emit("change");
    return !this.#blocked;
  }

  end(trailers?: readonly HeaderField[]): void {
    if (this.head === undefined) throw new Error("ended before the head");
    if (this.ended) throw new Error("ended twice");
    if (this.aborted) throw new Error("ended after abort");
    this.ended = true;
    this.trailers = trailers ?? [];
    this.#events.emit("change");
  }

  abort(): void {
    if (this.aborted) throw new Error("aborted twice");
    this.aborted = true;
    this.#events.emit("change");
  }

  // The edge's side.

  /** The visitor sends bytes; the memory is overwritten afterwards, as the transport's would be. */
  give(data: string | Buffer): void {
    const view = Buffer.from(data);
    this.given += view.length;
    this.peakHeld = Math.max(this.peakHeld, this.given - this.credited);
    this.sink.onData(view);
    view.fill(0xee);
  }

  giveEnd(trailers: readonly HeaderField[] = []): void {
    this.sink.onEnd(trailers);
  }

  cancel(reason: CancelReason = "client-abort"): void {
    this.sink.onCancel(reason);
  }

  /** The visitor has read everything so far. */
  drain(): void {
    this.#unread = 0;
    if (!this.#blocked) return;
    this.#blocked = false;
    this.sink.onWritable();
  }

  get blocked(): boolean {
    return this.#blocked;
  }

  get body(): Buffer {
    return Buffer.concat(this.chunks);
  }

  /** `Name: value` of each response field. */
  get fields(): string[] {
    return (this.head?.headers ?? []).map((field) => `${field.name}: ${field.value}`);
  }

  header(name: string): string | undefined {
    return this.head?.headers.find((field) => field.name.toLowerCase() === name.toLowerCase())?.value;
  }

  /** Resolves as soon as `condition` holds; it is looked at whenever the consumer does something. */
  async until(condition: (stream: this) => boolean): Promise<this> {
    while (!condition(this)) await once(this.#events, "change");
    return this;
  }

  /** Resolves when the consumer has ended or aborted its side. */
  async done(): Promise<this> {
    return this.until((stream) => stream.ended || stream.aborted);
  }
}

export function fieldsOf(headers: Readonly<Record<string, string>>): HeaderField[] {
  return Object.entries(headers).map(([name, value]) => new HeaderField(name, value));
}

export interface FakeRequestOptions {
  readonly method?: string;
  readonly path?: string;
  readonly authority?: string;
  readonly headers?: readonly HeaderField[];
}

export function httpRequest(
  stream: FakeStream,
  options: FakeRequestOptions & { readonly contentLength?: number } = {},
): HttpRequest {
  return {
    kind: "http",
    method: options.method ?? "GET",
    path: options.path ?? "/",
    authority: options.authority ?? "app.example.com",
    headers: options.headers ?? [],
    contentLength: options.contentLength,
    stream,
  };
}

export function webSocketRequest(stream: FakeStream, options: FakeRequestOptions = {}): WebSocketRequest {
  return {
    kind: "websocket",
    method: options.method ?? "GET",
    path: options.path ?? "/",
    authority: options.authority ?? "app.example.com",
    headers: options.headers ?? [],
    stream,
  };
}

export function tcpRequest(stream: FakeStream, destination: string): TcpRequest {
  return { kind: "tcp", destination, authority: destination, headers: [], stream };
}
