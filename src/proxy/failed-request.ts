/** The end of a request whose backend threw instead of taking it. */
import { Http1RequestError } from "../protocol/http1/errors.ts";
import { BadRequestError } from "./bad-request.ts";
import { answerFailure, discardingSink, failureStatus } from "./direct-answers.ts";
import { OriginError } from "./origin-errors.ts";
import type { ProxiedRequest } from "./proxied-request.ts";
import type { RequestRecord } from "./request-record.ts";

export function failRequest(request: ProxiedRequest, record: RequestRecord, cause: unknown): void {
  const error = cause instanceof Error ? cause : new Error(String(cause));
  const isBadRequest = error instanceof Http1RequestError || error instanceof BadRequestError;
  request.stream.sink = discardingSink(request);
  const outcome = error instanceof OriginError ? error.outcome : isBadRequest ? "bad-request" : "handler-error";
  record.status = failureStatus(outcome);
  record.finish(outcome, error instanceof OriginError ? error.phase : "request", error);
  answerFailure(request.stream, failureStatus(outcome));
}
