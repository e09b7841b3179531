/** Runs a parser over bytes, cut as asked, and returns what it made of them. */
import { Http1ResponseError } from "../../../src/protocol/http1/errors.ts";
import { HeaderLineCache } from "../../../src/protocol/http1/header-line.ts";
import { ResponseParser } from "../../../src/protocol/http1/response-parser.ts";

export interface Collected {
  interims: number[];
  status: number | undefined;
  fields: string[];
  contentLength: number | undefined;
  bodyless: boolean;
  body: string;
  trailers: string[];
  complete: boolean;
  reusable: boolean;
  keepAliveSeconds: number | undefined;
  /** The stable code of the error that ended it. */
  error: string | undefined;
  message: string | undefined;
}

export interface CollectOptions {
  readonly method?: string;
  readonly upgrade?: boolean;
  /** Where the bytes are cut, ascending. */
  readonly cuts?: readonly number[];
  /** The origin closes behind the bytes. */
  readonly close?: boolean;
  readonly lines?: HeaderLineCache;
}

export function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const found: Buffer[] = [];
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (cut > from) found.push(bytes.subarray(from, cut));
    from = Math.max(from, cut);
  }
  return found;
}

export function collect(message: string | Buffer, options: CollectOptions = {}): Collected {
  const bytes = typeof message === "string" ? Buffer.from(message, "latin1") : message;
  const parser = new ResponseParser(options.lines ?? new HeaderLineCache());
  const collected: Collected = {
    interims: [],
    status: undefined,
    fields: [],
    contentLength: undefined,
    bodyless: false,
    body: "",
    trailers: [],
    complete: false,
    reusable: false,
    keepAliveSeconds: undefined,
    error: undefined,
    message: undefined,
  };
  parser.begin(
    {
      onInterim: (status) => collected.interims.push(status),
      onHead(head, bodyless) {
        collected.status = head.status;
        collected.fields = head.fields.map(({ name, value }) => `${name}: ${value}`);
        collected.contentLength = head.contentLength;
        collected.bodyless = bodyless;
      },
      onBody(view) {
        if (view.length === 0) throw new Error("an empty view was handed on");
        collected.body += view.toString("latin1");
      },
      onComplete(trailers) {
        if (collected.complete) throw new Error("completed twice");
        collected.complete = true;
        collected.trailers = trailers.map(({ name, value }) => `${name}: ${value}`);
      },
    },
    options.method ?? "GET",
    options.upgrade ?? false,
  );
  try {
    for (const piece of pieces(bytes, options.cuts ?? [])) {
      // Copies: the caller of a parser overwrites its memory after each call.
      const copy = Buffer.from(piece);
      parser.receive(copy);
      copy.fill(0xee);
    }
    if (options.close === true) parser.finish();
  } catch (error) {
    if (!(error instanceof Http1ResponseError)) throw error;
    collected.error = error.code;
    collected.message = error.message;
  }
  collected.reusable = parser.reusable;
  collected.keepAliveSeconds = parser.keepAliveSeconds;
  return collected;
}

/** The result of cutting the bytes at every position, one cut at a time, and of single bytes: all must be equal to the whole. */
export function everyCut(bytes: Buffer): (readonly number[])[] {
  const singles = Array.from({ length: Math.max(0, bytes.length - 1) }, (_, at) => [at + 1]);
  return [...singles, Array.from({ length: bytes.length }, (_, at) => at)];
}
