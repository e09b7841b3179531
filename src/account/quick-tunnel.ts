/**
 * Asks a quick-tunnel service for a tunnel (operations § 7): one POST, answered by
 *
 *     {"success": true, "result": {"id", "hostname", "account_tag", "secret" (base64)}, "errors": [{"code", "message"}]}
 *
 * Unlike cloudflared this looks at the status, at `success` and at every field, and names rate limits as such.
 */
import { MAX_ANSWER_BYTES, openClient, readBody, reasonOf } from "./http-client.ts";
import { CredentialsError, readCredentials } from "../config/credentials.ts";
import { parseHostname } from "../config/hostname.ts";
import { redactLikely } from "../proxy/ingress/redact.ts";
import type { TunnelCredentials } from "../config/tunnel-config.ts";
import { UnderpassError } from "../errors.ts";

export interface QuickTunnelRequest {
  /** Base URL of the service, e.g. `https://api.trycloudflare.com`. */
  readonly service: string;
  /** `User-Agent` of the request. */
  readonly userAgent: string;
  readonly signal?: AbortSignal;
  /** Replaces the built-in client, which honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  readonly fetch?: typeof fetch;
}

export interface QuickTunnel {
  readonly credentials: TunnelCredentials;
  /** Public host name, without scheme. */
  readonly hostname: string;
}

export type QuickTunnelErrorCode =
  /** Status 429, or Cloudflare's error 1015. */
  | "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED"
  /** No answer: name resolution, connection, TLS, time-out. */
  | "ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE"
  /** The service said no. */
  | "ERR_UNDERPASS_QUICK_TUNNEL_REFUSED"
  /** The answer is not what it should be. */
  | "ERR_UNDERPASS_QUICK_TUNNEL_INVALID";

export class QuickTunnelError extends UnderpassError {
  declare readonly code: QuickTunnelErrorCode;
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** From the answer's Retry-After, where it had one. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: QuickTunnelErrorCode,
    message: string,
    details: { readonly status?: number; readonly retryAfterMs?: number | undefined; readonly cause?: unknown } = {},
  ) {
    super(code, message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = details.status;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** From the request to the last byte of the answer, as in cloudflared. */
const TIMEOUT_MS = 15_000;
const KEYS = { account: "account_tag", secret: "secret", tunnel: "id", endpoint: "endpoint" };

/** Resolves with the tunnel, or rejects with a QuickTunnelError or with the signal's reason. */
export async function requestQuickTunnel(request: QuickTunnelRequest): Promise<QuickTunnel> {
  const url = new URL(`${request.service.replace(/\/+$/, "")}/tunnel`);
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = request.signal === undefined ? timeout : AbortSignal.any([request.signal, timeout]);
  const client = request.fetch === undefined ? await openClient(url) : { send: request.fetch, end: () => {} };
  let response: Response;
  let body: string;
  try {
    response = await client.send(url, {
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": request.userAgent },
      redirect: "manual",
      signal,
    });
    const read = await readBody(response);
    if (read === undefined) {
      throw new QuickTunnelError(
        "ERR_UNDERPASS_QUICK_TUNNEL_INVALID",
        `the quick-tunnel service's answer is longer than ${MAX_ANSWER_BYTES} bytes`,
        { status: response.status },
      );
    }
    body = read;
  } catch (error) {
    request.signal?.throwIfAborted();
    if (error instanceof QuickTunnelError) throw error;
    const reason = timeout.aborted ? `no answer within ${TIMEOUT_MS / 1000} s` : reasonOf(error);
    throw new QuickTunnelError(
      "ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE",
      `can't ask ${url.origin} for a quick tunnel: ${reason}`,
      { cause: error },
    );
  } finally {
    client.end();
  }
  return readAnswer(response, body, url.origin);
}

function readAnswer(response: Response, body: string, service: string): QuickTunnel {
  const { status } = response;
  const answer = parseJson(body);
  const errors = describeErrors(answer);
  const retryAfterMs = parseRetryAfter(response.headers.get("retry-after"), Date.now());
  const isRateLimitPage = answer === undefined && /\berror(?: code)?:? *1015\b/i.test(body);
  if (status === 429 || isRateLimitPage || errors.codes.includes(1015)) {
    const why = isRateLimitPage || errors.codes.includes(1015) ? "Cloudflare's error 1015" : `HTTP status ${status}`;
    const when =
      retryAfterMs === undefined ? "it did not say until when" : `try again in ${Math.ceil(retryAfterMs / 1000)} s`;
    throw new QuickTunnelError(
      "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED",
      `${service} limits how many quick tunnels it hands out (${why}); ${when}. A named tunnel has no such limit`,
      { status, retryAfterMs },
    );
  }
  const refused = (what: string) =>
    new QuickTunnelError("ERR_UNDERPASS_QUICK_TUNNEL_REFUSED", `${service} gave no quick tunnel: ${what}`, {
      status,
      retryAfterMs,
    });
  if (status < 200 || status > 299) throw refused(`HTTP status ${status}${errors.text}`);
  if (answer === undefined) {
    throw new QuickTunnelError(
      "ERR_UNDERPASS_QUICK_TUNNEL_INVALID",
      `${service} did not answer with JSON but with ${describeBody(response, body)} (HTTP status ${status})`,
      { status },
    );
  }
  if (field(answer, "success") !== true) throw refused(`success is not true${errors.text}`);
  return readResult(field(answer, "result"), service, status);
}

function readResult(result: unknown, service: string, status: number): QuickTunnel {
  const invalid = (message: string) => new QuickTunnelError("ERR_UNDERPASS_QUICK_TUNNEL_INVALID", message, { status });
  const answered = field(result, "hostname");
  const hostname = typeof answered === "string" ? parseHostname(answered.replace(/^https:\/\//, "")) : undefined;
  if (hostname === undefined) throw invalid(`${service}: its answer has no usable "hostname"`);
  try {
    return { credentials: readCredentials(JSON.stringify(result), KEYS, `${service}'s answer`), hostname };
  } catch (error) {
    throw error instanceof CredentialsError ? invalid(error.message) : error;
  }
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && name in value
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** Codes and messages of the envelope's `errors`, shortened: they come from outside. */
function describeErrors(answer: unknown): { readonly codes: readonly unknown[]; readonly text: string } {
  const list = field(answer, "errors");
  const errors = Array.isArray(list) ? list.slice(0, 5) : [];
  const texts = errors.map(
    (error) => `${String(field(error, "code"))} ${String(field(error, "message")).slice(0, 200)}`,
  );
  return {
    codes: errors.map((error) => field(error, "code")),
    text: texts.length === 0 ? "" : ` (${redactLikely(texts.join("; "))})`,
  };
}

function describeBody(response: Response, body: string): string {
  const type = (response.headers.get("content-type") ?? "no content type").slice(0, 60);
  return body === "" ? "nothing" : `${Buffer.byteLength(body)} bytes of ${type}`;
}

/** Milliseconds of a Retry-After (RFC 9110 § 10.2.3): seconds or an HTTP date. */
function parseRetryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
