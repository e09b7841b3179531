/** A request as the WHATWG fetch standard has it. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import { Http1RequestError } from "../../protocol/http1/errors.ts";
import { hostLine } from "../../protocol/http1/request-head.ts";
import type { HttpRequest } from "../../types.ts";

/** Fields about a connection that a fetch handler does not have. */
const HOP_FIELDS: ReadonlySet<string> = new Set(["Connection", "Transfer-Encoding"]);

/** Throws an Http1RequestError where the standard has no such request. */
export function fetchRequest(
  request: HttpRequest,
  fields: readonly HeaderField[],
  body: ReadableStream<Uint8Array> | undefined,
  signal: AbortSignal,
): Request {
  const { method } = request;
  const url = requestUrl(request, fields);
  try {
    const headers = fields
      .filter(({ name }) => !HOP_FIELDS.has(name))
      .map(({ name, value }): [string, string] => [name, value]);
    const init: RequestInit & { duplex?: "half" } = { method, headers, signal };
    if (body !== undefined) {
      init.body = body;
      init.duplex = "half";
    }
    return new Request(url, init);
  } catch {
    // CONNECT and TRACE, for instance.
    throw new Http1RequestError(`a fetch handler can't be given this ${method} request`);
  }
}

/** The standard allows no body with these, and one that comes all the same is dropped. */
export function takesBody({ method, stream }: HttpRequest): boolean {
  return !stream.bodyless && method !== "GET" && method !== "HEAD";
}

/** The path stays as the visitor wrote it, as far as a URL can hold it. */
function requestUrl({ authority, path }: HttpRequest, fields: readonly HeaderField[]): string {
  const host = authority === "" ? (find(fields, "Host") ?? "localhost") : authority;
  hostLine(host);
  // `OPTIONS *` has no URL of its own; a fragment never travels, so a `#` is meant literally.
  const target = `${path.startsWith("/") ? "" : "/"}${path.replaceAll("#", "%23")}`;
  const url = `${requestScheme(fields)}://${host}${target}`;
  if (!URL.canParse(url)) throw new Http1RequestError("the request's host and path make no URL");
  return url;
}

/** What the visitor used towards Cloudflare; the tunnel itself knows nothing of it. */
function requestScheme(fields: readonly HeaderField[]): "http" | "https" {
  const forwarded = find(fields, "X-Forwarded-Proto")?.split(",", 1)[0]?.trim().toLowerCase();
  if (forwarded === "http" || forwarded === "https") return forwarded;
  return /"scheme"\s*:\s*"https"/.test(find(fields, "Cf-Visitor") ?? "") ? "https" : "http";
}

function find(fields: readonly HeaderField[], name: string): string | undefined {
  return fields.find((field) => field.name === name)?.value;
}
