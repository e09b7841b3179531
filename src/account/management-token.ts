/** Asks Cloudflare's API for an access token of a tunnel's management service (operations § 7). */
import { UnderpassError } from "../errors.ts";
import { redactLikely } from "../proxy/ingress/redact.ts";
import { openClient, readBody, reasonOf } from "./http-client.ts";
import type { OriginCert } from "./origin-cert.ts";

/** What an access token may be for (cloudflared's `--resource`). */
export const MANAGEMENT_RESOURCES = ["logs", "host_details", "admin"] as const;
export type ManagementResource = (typeof MANAGEMENT_RESOURCES)[number];

export interface ManagementTokenRequest {
  readonly cert: OriginCert;
  /** Such as `https://api.cloudflare.com/client/v4`; FedRAMP has its own, whatever this says. */
  readonly apiUrl: string;
  readonly tunnelId: string;
  readonly resource: ManagementResource;
  readonly userAgent: string;
  readonly signal?: AbortSignal | undefined;
}

/** Cloudflare's API did not answer, or said no. */
export class ApiError extends UnderpassError {
  constructor(message: string, cause?: unknown) {
    super("ERR_UNDERPASS_API", message, cause === undefined ? undefined : { cause });
  }
}

const FEDRAMP_API = "https://api.fed.cloudflare.com/client/v4";
const TIMEOUT_MS = 15_000;

/** Rejects with ApiError, or with the signal's reason. */
export async function requestManagementToken(request: ManagementTokenRequest): Promise<string> {
  const { apiUrl, cert, resource, signal, tunnelId, userAgent } = request;
  const base = (cert.endpoint === "fed" ? FEDRAMP_API : apiUrl).replace(/\/+$/, "");
  const url = new URL(`${base}/accounts/${cert.accountId}/cfd_tunnel/${tunnelId}/management/${resource}`);
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const client = await openClient(url);
  try {
    const response = await client.send(url, {
      method: "POST",
      headers: {
        authorization: `Bearer ${cert.apiToken.reveal()}`,
        accept: "application/json;version=1",
        "user-agent": userAgent,
      },
      redirect: "manual",
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    return readToken(response.status, (await readBody(response)) ?? "", url.origin);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ApiError) throw error;
    const reason = timeout.aborted ? `no answer within ${TIMEOUT_MS / 1000} s` : reasonOf(error);
    throw new ApiError(`can't ask ${url.origin} for an access token: ${reason}`, error);
  } finally {
    client.end();
  }
}

interface Envelope {
  readonly success?: unknown;
  readonly result?: unknown;
  readonly errors?: unknown;
}

function readToken(status: number, body: string, service: string): string {
  const envelope = parse(body);
  const { result } = envelope;
  if (status === 200 && envelope.success === true && typeof result === "string" && result !== "") return result;
  const said = errorsOf(envelope);
  const why =
    status === 401 || status === 403
      ? "the API token of cert.pem is not accepted"
      : status === 404
        ? "the account of cert.pem has no such tunnel"
        : `HTTP status ${status}`;
  throw new ApiError(`${service} gave no access token: ${why}${said === "" ? "" : ` (${said})`}`);
}

function errorsOf({ errors }: Envelope): string {
  if (!Array.isArray(errors)) return "";
  const texts = errors.slice(0, 5).map((error: unknown) => {
    const { code, message } = (typeof error === "object" && error !== null ? error : {}) as Record<string, unknown>;
    return `${String(code)} ${String(message).slice(0, 200)}`;
  });
  return redactLikely(texts.join("; ")).replaceAll(/\p{Cc}+/gu, " ");
}

function parse(body: string): Envelope {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
