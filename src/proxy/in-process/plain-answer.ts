/** The few answers that are made on behalf of an origin in this process. */
import { HeaderField } from "../../protocol/bytes/header-field.ts";
import type { HttpRequest, WebSocketRequest } from "../../types.ts";

const TEXTS = {
  400: "Bad Request\n",
  500: "Internal Server Error\n",
  501: "Not Implemented\n",
  503: "Service Unavailable\n",
} as const;

/** Answers with the status and its name, and ends this side. */
export function answerPlainly(
  { method, stream }: HttpRequest | WebSocketRequest,
  status: keyof typeof TEXTS,
  more: readonly HeaderField[] = [],
): void {
  const body = Buffer.from(TEXTS[status]);
  const bodyless = method === "HEAD";
  const headers = [
    new HeaderField("Content-Type", "text/plain; charset=utf-8"),
    new HeaderField("Content-Length", String(body.length)),
    ...more,
  ];
  // As the origin's own answer: the edge would put a page of its own in the place of the connector's.
  stream.respond({ status, headers, contentLength: body.length, source: "origin" }, bodyless);
  if (!bodyless) stream.write(body, true);
}
