/**
 * When a tunnel is restarted, as a pure state machine: one check an interval goes in, a verdict and perhaps an action
 * come out. A tunnel fails a check when no connection is registered, or when the edge has no way to it.
 */

import type { TokenUse } from "./probe.ts";

/** What a GET on the public hostname came to. */
export type ProbeAnswer =
  | {
      readonly kind: "answer";
      readonly status: number;
      /** Beginning of the body. */
      readonly body: string;
      /** Where it redirects to. */
      readonly location?: string | undefined;
      /** Where there is a service token of Cloudflare Access: whether it went along. */
      readonly serviceToken?: TokenUse | undefined;
      /** The request itself was seen coming through this tunnel. */
      readonly carried: boolean;
    }
  | { readonly kind: "no-answer"; readonly error: Error };

export interface Check {
  /** At least one connection is registered whose edge answers. */
  readonly registered: boolean;
  /** Undefined where the public hostname was not asked. */
  readonly probe: ProbeAnswer | undefined;
  /** What is wrong with the origins, as far as they are looked at. */
  readonly origins: readonly string[];
}

export type Verdict =
  | { readonly kind: "healthy" }
  /** The tunnel works, and what is behind it does not: `status` is what the public hostname answered, where that showed it. */
  | { readonly kind: "degraded"; readonly status: number | undefined; readonly message: string }
  | { readonly kind: "failed"; readonly message: string };

export function judge({ origins, probe, registered }: Check): Verdict {
  if (!registered) return { kind: "failed", message: "no connection is registered" };
  const hostname = probe === undefined ? undefined : judgeProbe(probe);
  return hostname === undefined || hostname.kind === "healthy" ? judgeOrigins(origins) : hostname;
}

export function judgeProbe(probe: ProbeAnswer): Verdict {
  if (probe.kind === "no-answer") {
    return { kind: "failed", message: `the public hostname does not answer: ${probe.error.message}` };
  }
  const { status } = probe;
  if (isSuccess(probe)) return { kind: "healthy" };
  if (isEdgeFailure(probe)) {
    return { kind: "failed", message: `the edge answers ${describeEdgeFailure(probe)} for the public hostname` };
  }
  const why = leadsToLogin(probe)
    ? `, a redirect to the login of Cloudflare Access: ${whatLetsThrough(probe.serviceToken)}`
    : "";
  return { kind: "degraded", status, message: `the public hostname answers with status ${status}${why}` };
}

export function judgeOrigins([first, ...others]: readonly string[]): Verdict {
  if (first === undefined) return { kind: "healthy" };
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return { kind: "degraded", status: undefined, message: `${first}${more}` };
}

/** The way through the public hostname leads to an origin that is content. */
export function isSuccess(probe: ProbeAnswer): boolean {
  return probe.kind === "answer" && probe.status >= 200 && probe.status <= 299;
}

function leadsToLogin({ location }: Extract<ProbeAnswer, { kind: "answer" }>): boolean {
  return location !== undefined && /^https:\/\/[\w-]+(?:\.fed)?\.cloudflareaccess\.com\//.test(location);
}

/** Access asks for a login, too, where a token is good and the policy that names it is not one for services. */
function whatLetsThrough(token: TokenUse | undefined): string {
  switch (token) {
    case "sent":
      return "the service token was sent and is refused; it must be whole and not expired, and a policy of the application with the action Service Auth must name it";
    case "withheld":
      return "the service token is sent by https alone, and the check asks by http";
    default:
      return "--service-token-id and its secret let the check through";
  }
}

/** Statuses that Cloudflare makes itself: 520 to 527 and 530 are no one else's, 502 and 504 are a gateway's. */
function isEdgeStatus(status: number): boolean {
  return (status >= 520 && status <= 530) || status === 502 || status === 504;
}

/** Cloudflare's plain error text, its error pages, and the signature of its proxies' own pages. */
const EDGE_PAGE = /error code: \d{3,4}|\bcf-error-|<center>cloudflare<\/center>/i;

/**
 * A 5xx that came through this tunnel was made behind it. Otherwise the edge's own are known by their status or their
 * page; any other 5xx is the origin's, reached through another connector of the same tunnel.
 */
function isEdgeFailure({ status, body, carried }: Extract<ProbeAnswer, { kind: "answer" }>): boolean {
  if (status === 530) return true;
  if (status < 500 || carried) return false;
  return isEdgeStatus(status) || EDGE_PAGE.test(body) || /\b1033\b/.test(body.slice(0, 4096));
}

function describeEdgeFailure({ status, body }: { readonly status: number; readonly body: string }): string {
  const code = /error code: (\d{4})/i.exec(body)?.[1];
  return code === undefined ? `${status}` : `${status} (error ${code})`;
}

export interface PolicyState {
  /** Failed checks in a row. */
  readonly failures: number;
  /** Restarts since the last success. */
  readonly restarts: number;
}

export const freshPolicy: PolicyState = { failures: 0, restarts: 0 };

export interface PolicyStep {
  readonly state: PolicyState;
  /** A restart is due, as the n-th in a row from 0. */
  readonly restart: number | undefined;
}

/** One more check. Only success resets the ladder of restarts; a degraded tunnel is none that a restart would help. */
export function advance(state: PolicyState, verdict: Verdict, maxFailures: number): PolicyStep {
  if (verdict.kind === "healthy") return { state: freshPolicy, restart: undefined };
  if (verdict.kind === "degraded") return { state: { ...state, failures: 0 }, restart: undefined };
  const failures = state.failures + 1;
  if (failures < maxFailures) return { state: { ...state, failures }, restart: undefined };
  return { state: { failures: 0, restarts: state.restarts + 1 }, restart: state.restarts };
}
