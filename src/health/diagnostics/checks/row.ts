/** One row: a look at one thing, bounded in time, that never rejects. */
import { remedyOf } from "../../../error-catalogue.ts";
import { UnderpassError } from "../../../errors.ts";
import { redactLikely } from "../../../proxy/ingress/redact.ts";
import type { CheckComponent, CheckResult, Outcome } from "./types.ts";

export interface RowHead {
  readonly id: string;
  readonly component: CheckComponent;
  readonly target: string;
}

/** Longer texts come from somebody else's server. */
const MAX_DETAILS = 400;

/** Runs `look`, bounded in time. */
export async function checkRow(
  head: RowHead,
  limitMs: number,
  look: (signal: AbortSignal) => Promise<Outcome>,
): Promise<CheckResult> {
  const started = performance.now();
  let outcome: Outcome;
  try {
    outcome = await within(limitMs, undefined, look);
  } catch (error) {
    outcome = failedOutcome(error);
  }
  const { action, code, details, status } = outcome;
  return {
    ...head,
    status,
    details: shown(details),
    action: status === "ok" || status === "skipped" ? undefined : action,
    code,
    milliseconds: Math.round(performance.now() - started),
  };
}

/** With the catalogue's remedy. */
export function failedOutcome(error: unknown): Outcome {
  const code = error instanceof UnderpassError ? error.code : undefined;
  return { status: "failed", details: messageOf(error), action: remedyOf(error), code };
}

/** The time was up. */
export class LateError extends Error {}

/** What `look` resolves with, or a LateError; what does not heed its signal is left behind when the time is up. */
export async function within<T>(
  limitMs: number,
  outer: AbortSignal | undefined,
  look: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const ended = new Promise<never>((_resolve, reject) => {
    abort.signal.addEventListener("abort", () => reject(abort.signal.reason), { once: true });
  });
  const timer = setTimeout(() => abort.abort(new LateError(`no answer within ${limitMs / 1000} s`)), limitMs);
  const stop = (): void => abort.abort(outer?.reason);
  outer?.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([ended, look(abort.signal)]);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", stop);
    // Whoever is still under way has lost.
    abort.abort(new Error("the check is over"));
  }
}

/** A row whose outcome is known without a look. */
export function knownRow(head: RowHead, outcome: Outcome): CheckResult {
  const { action, details, status } = outcome;
  return { ...head, status, details: shown(details), action, code: undefined, milliseconds: 0 };
}

/** Of what servers and files say, what a terminal may be given. */
function shown(details: string): string {
  return redactLikely(details)
    .replaceAll(/\p{Cc}+/gu, " ")
    .slice(0, MAX_DETAILS);
}

/** The message, with its cause's where that says more; our own say all. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof UnderpassError) return error.message;
  const nested = error instanceof AggregateError ? error.errors.find((inner) => inner instanceof Error) : undefined;
  const own = error.message !== "" ? error.message : nested instanceof Error ? nested.message : error.name;
  const cause = error.cause instanceof Error ? messageOf(error.cause) : "";
  return cause === "" || own.includes(cause) ? own : `${own}: ${cause}`;
}
