/** A handler's Response as a head for the edge. */
import { HeaderField } from "../../protocol/bytes/header-field.ts";
import type { ResponseHead } from "../../types.ts";

export interface FetchResponse {
  readonly head: ResponseHead;
  /** Undefined = there is none to send. */
  readonly body: ReadableStream<unknown> | undefined;
}

/** Fields about a connection that the handler does not have. */
const HOP_FIELDS: ReadonlySet<string> = new Set(["connection", "keep-alive", "transfer-encoding"]);

/** Statuses whose responses have no body, whatever they say (RFC 9110 §§ 15.3.5, 15.3.6, 15.4.5). */
const NULL_BODY_STATUSES: ReadonlySet<number> = new Set([204, 205, 304]);

/** Throws a TypeError on what no visitor can be given. */
export function fetchResponse(value: unknown, method: string): FetchResponse {
  const response = asResponse(value);
  const { status, body } = response;
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new TypeError(`the fetch handler returned a Response with status ${status}; 200 to 599 would be right`);
  }
  if (response.bodyUsed || body?.locked === true) {
    throw new TypeError("the fetch handler returned a Response whose body is already being read");
  }
  const headers: HeaderField[] = [];
  let contentLength: number | undefined;
  const withoutBody = NULL_BODY_STATUSES.has(status) || method === "HEAD";
  for (const [name, text] of response.headers) {
    if (HOP_FIELDS.has(name)) continue;
    if (name === "content-length") {
      // Where nothing follows it speaks of another response's body: HEAD and 304 may, an empty one may not.
      if (!/^\d{1,15}$/.test(text) || status === 204 || status === 205) continue;
      if (body === null && !withoutBody) continue;
      contentLength = Number(text);
    }
    headers.push(new HeaderField(name, text));
  }
  if (body === null && !withoutBody) contentLength = 0;
  return {
    head: { status, headers, contentLength, source: "origin" },
    body: withoutBody ? undefined : (body ?? undefined),
  };
}

/** Whether the body of a Response that is not sent has to be given up. */
export function discardBody(value: unknown): void {
  if (!isResponse(value) || value.body === null || value.body.locked) return;
  value.body.cancel().catch(() => {});
}

function asResponse(value: unknown): Response {
  if (isResponse(value)) return value;
  throw new TypeError(`the fetch handler returned ${describe(value)}; a Response would be right`);
}

/** Undici's package and some polyfills have Response classes of their own, of the same shape. */
function isResponse(value: unknown): value is Response {
  if (value instanceof Response) return true;
  if (Object.prototype.toString.call(value) !== "[object Response]") return false;
  const { body, headers } = value as Partial<Response>;
  return headers !== undefined && (body === null || typeof body?.getReader === "function");
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  return typeof value === "object" ? "another object" : `a ${typeof value}`;
}
