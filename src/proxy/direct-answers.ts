/** What is answered without any origin: fixed statuses, and configurations that this version does not take. */
import type { ConfigurationUpdate, HttpRequest, ResponseHead, StreamSink, WebSocketRequest } from "../types.ts";
import type { ProxiedRequest, RequestRecord } from "./request-record.ts";

/** The version before the first one (ingress § 6): no remote configuration was ever applied. */
const NO_CONFIGURATION = -1;

export function refuseConfiguration(update: ConfigurationUpdate): void {
  update.reply(
    NO_CONFIGURATION,
    "remote configuration of ingress rules is not supported in this version; the origin that was configured locally stays",
  );
}

/** cloudflared's answer where no rule matches. */
const NO_ORIGIN_STATUS = 503;

/** Answers `status` with nothing in it, whatever the visitor sends. */
export function answerStatus(request: HttpRequest | WebSocketRequest, status: number, record: RequestRecord): void {
  const { stream } = request;
  stream.sink = discardingSink(request);
  const head: ResponseHead = { status, headers: [], contentLength: 0, source: "origin" };
  stream.respond(head, true);
  record.status = status;
  if (status === NO_ORIGIN_STATUS) record.finish("no-origin", "match");
  else record.finish("ok");
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
