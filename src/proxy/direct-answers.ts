/** What is answered without any origin. */
import type { EdgeStream, HttpRequest, OutcomeClass, StreamSink, WebSocketRequest } from "../types.ts";
import { answerEmpty } from "./error-page.ts";
import type { ProxiedRequest } from "./proxied-request.ts";
import type { RequestRecord } from "./request-record.ts";

/** Answers `status` with nothing in it, whatever the visitor sends: as the owner said, so that no page takes its place. */
export function answerStatus(request: HttpRequest | WebSocketRequest, status: number, record: RequestRecord): void {
  request.stream.sink = discardingSink(request);
  request.stream.respond({ status, headers: [], contentLength: undefined, source: "origin" }, true);
  record.status = status;
  record.finish("ok");
}

/** The same where the owner has configured nothing. */
export function answerUnconfigured(
  request: HttpRequest | WebSocketRequest,
  status: number,
  record: RequestRecord,
): void {
  request.stream.sink = discardingSink(request);
  answerEmpty(request.stream, status, "origin");
  record.status = status;
  record.finish("no-origin", "match");
}

/** What a visitor gets whose request failed before there was a head. */
export function failureStatus(outcome: OutcomeClass): 502 | 504 {
  return outcome === "origin-timeout" ? 504 : 502;
}

/** Answers a stream that has no head yet. The edge makes a page of it, unless the owner has one. */
export function answerFailure(stream: EdgeStream, status: 502 | 504): void {
  if (status === 502) stream.abort();
  else answerEmpty(stream, status, "connector");
}

/** For streams whose answer is complete: credits what still comes. */
export function discardingSink({ stream }: ProxiedRequest): StreamSink {
  return {
    onData: (chunk) => stream.consumed(chunk.length),
    onEnd() {},
    onCancel() {},
    onWritable() {},
  };
}
