/**
 * The connector's answer, read as the edge reads it (wire § 4.4): the origin's fields stand in
 * `cf-cloudflared-response-headers`, who made the answer in `cf-cloudflared-response-meta`; all else is noise of the transport.
 */
import { UnderpassError } from "../errors.ts";
import type { Field } from "./visitor-fields.ts";

/** A response head as it came over the wire. */
export interface WireHead {
  readonly status: number;
  readonly fields: readonly Field[];
  /** What it says, where it says so plainly: on QUIC. */
  readonly answer?: ConnectorAnswer;
}

export interface ConnectorAnswer {
  readonly status: number;
  /** The origin's fields; undefined when the connector sent no set. */
  readonly headers: readonly Field[] | undefined;
  /** `src` of the meta field: `origin`, `cloudflared`, or undefined when there is none. */
  readonly source: string | undefined;
  readonly flowRateLimited: boolean;
}

/** The connector's answer is not in the form that the edge understands. */
export class ConnectorAnswerError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_MOCK_EDGE_ANSWER", message);
  }
}

function decodeText(text: string): string {
  // Go's decoder of unpadded base64 is strict where Node's is not.
  if (!/^[A-Za-z0-9+/]*$/.test(text) || text.length % 4 === 1)
    throw new ConnectorAnswerError("cf-cloudflared-response-headers: an item is not unpadded base64");
  return Buffer.from(text, "base64").toString("latin1");
}

/** Parses the serialised set; throws ConnectorAnswerError. */
function parseResponseHeaders(serialised: string): Field[] {
  const fields: Field[] = [];
  for (const item of serialised.split(";")) {
    if (item === "") continue;
    const [name = "", value, ...rest] = item.split(":");
    if (value === undefined || rest.length > 0)
      throw new ConnectorAnswerError("cf-cloudflared-response-headers: an item does not have exactly one colon");
    fields.push([decodeText(name), decodeText(value)]);
  }
  return fields;
}

function parseMeta(text: string | undefined): { source: string | undefined; flowRateLimited: boolean } {
  if (text === undefined) return { source: undefined, flowRateLimited: false };
  let meta: unknown;
  try {
    meta = JSON.parse(text);
  } catch {
    throw new ConnectorAnswerError("cf-cloudflared-response-meta is not JSON");
  }
  if (typeof meta !== "object" || meta === null)
    throw new ConnectorAnswerError("cf-cloudflared-response-meta is no object");
  return {
    source: "src" in meta ? String(meta.src) : undefined,
    flowRateLimited: "flow_rate_limited" in meta && meta.flow_rate_limited === true,
  };
}

function wireField(head: WireHead, name: string): string | undefined {
  return head.fields.find(([field]) => field === name)?.[1];
}

/** Throws ConnectorAnswerError. */
export function readAnswer(head: WireHead): ConnectorAnswer {
  if (head.answer !== undefined) return head.answer;
  const serialised = wireField(head, "cf-cloudflared-response-headers");
  return {
    status: head.status,
    headers: serialised === undefined ? undefined : parseResponseHeaders(serialised),
    ...parseMeta(wireField(head, "cf-cloudflared-response-meta")),
  };
}
