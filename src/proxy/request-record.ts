/** One request's entry in the log and in the observer's counters: written exactly once, when the request has ended. */
import type { CancelReason, OutcomeClass, RequestObserver, RequestOutcome, RequestPhase } from "../types.ts";
import type { ActiveEntry, ActiveRequest, ActiveRequests } from "./active-requests.ts";
import type { ProxiedRequest } from "./proxied-request.ts";
import type { Observed, RequestLog } from "./request-log/request-log.ts";

/** What all requests of a proxy share for their records. */
export interface RecordContext {
  readonly log: RequestLog;
  readonly observer: RequestObserver;
  readonly active: ActiveRequests;
}

const CANCEL_OUTCOMES: Record<CancelReason, OutcomeClass> = {
  "client-abort": "client-abort",
  "edge-lost": "edge-lost",
  "memory-limit": "memory-limit",
  "protocol-error": "bad-request",
  shutdown: "shutdown",
};

export function outcomeOfCancel(reason: CancelReason): OutcomeClass {
  return CANCEL_OUTCOMES[reason];
}

function rayOf(request: ProxiedRequest): string | undefined {
  for (const field of request.headers) {
    if (field.name.length === 6 && field.name.toLowerCase() === "cf-ray") return field.value;
  }
  return undefined;
}

export class RequestRecord {
  readonly #context: RecordContext;
  readonly #request: ProxiedRequest;
  readonly #observed: Observed;
  readonly #connIndex: number;
  readonly #service: string;
  readonly #rule: number | undefined;
  readonly #started = performance.now();
  #finished = false;
  #active: ActiveEntry | undefined;
  /** What the visitor got so far. */
  status = 0;

  constructor(
    context: RecordContext,
    { request, observed }: { readonly request: ProxiedRequest; readonly observed: Observed },
    connIndex: number,
    service: string,
    rule?: number,
  ) {
    this.#context = context;
    this.#request = request;
    this.#observed = observed;
    this.#connIndex = connIndex;
    this.#service = service;
    this.#rule = rule;
    context.observer.started();
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** Lets the proxy find `active`, in place of whatever had the request before, until the request has ended. */
  activate(active: ActiveRequest): void {
    if (this.#active !== undefined) this.#context.active.remove(this.#active);
    this.#active = this.#context.active.add(active);
  }

  /** The origin of a TCP stream has taken the connection. */
  connected(): void {
    this.#context.observer.connected?.(performance.now() - this.#started);
  }

  finish(outcome: OutcomeClass, phase?: RequestPhase, error?: Error): void {
    if (this.#finished) return;
    this.#finished = true;
    if (this.#active !== undefined) this.#context.active.remove(this.#active);
    const request = this.#request;
    const isTcp = request.kind === "tcp";
    const result: RequestOutcome = {
      class: outcome,
      kind: request.kind,
      connIndex: this.#connIndex,
      method: isTcp ? "" : request.method,
      host: isTcp ? request.destination : request.authority,
      path: isTcp ? "" : request.path,
      status: this.status,
      phase,
      milliseconds: performance.now() - this.#started,
      error,
      ray: rayOf(request),
      ingressRule: this.#rule,
    };
    this.#context.observer.finished(result);
    this.#context.log.finished(request, result, this.#service, this.#observed);
  }
}
