/** One request's entry in the log and in the observer's counters: written exactly once, when the request has ended. */
import { UnderpassError } from "../errors.ts";
import type {
  CancelReason,
  HttpRequest,
  LogFields,
  Logger,
  OutcomeClass,
  RequestObserver,
  RequestOutcome,
  RequestPhase,
  TcpRequest,
  WebSocketRequest,
} from "../types.ts";
import { AccessDeniedError } from "./access/errors.ts";
import type { ActiveEntry, ActiveRequest, ActiveRequests } from "./active-requests.ts";

export type ProxiedRequest = HttpRequest | WebSocketRequest | TcpRequest;

/** What all requests of a proxy share for their records. */
export interface RecordContext {
  readonly logger: Logger;
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

/** The query may hold a visitor's secrets. */
function withoutQuery(path: string): string {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

/** Message, code and the cause's message; never the error object, which may carry more. */
function describe(error: Error): { error: string; code?: string; reason?: string; cause?: string } {
  return {
    error: error.message,
    ...(error instanceof UnderpassError ? { code: error.code } : {}),
    ...(error instanceof AccessDeniedError ? { reason: error.reason } : {}),
    ...(error.cause instanceof Error ? { cause: error.cause.message } : {}),
  };
}

export class RequestRecord {
  readonly #context: RecordContext;
  readonly #request: ProxiedRequest;
  readonly #connIndex: number;
  readonly #service: string;
  readonly #rule: number | undefined;
  readonly #started = performance.now();
  #finished = false;
  #active: ActiveEntry | undefined;
  /** What the visitor got so far. */
  status = 0;

  constructor(context: RecordContext, request: ProxiedRequest, connIndex: number, service: string, rule?: number) {
    this.#context = context;
    this.#request = request;
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
    this.#log(result);
  }

  #log(result: RequestOutcome): void {
    const fields: LogFields = {
      outcome: result.class,
      kind: result.kind,
      connIndex: result.connIndex,
      ray: result.ray,
      method: result.method,
      host: result.host,
      path: withoutQuery(result.path),
      status: result.status,
      ms: Math.round(result.milliseconds),
      ingressRule: result.ingressRule,
      originService: this.#service,
    };
    const { logger } = this.#context;
    switch (result.class) {
      case "ok":
        logger.debug("Request served", fields);
        break;
      case "client-abort":
        logger.debug("Request cancelled by the visitor", { ...fields, phase: result.phase });
        break;
      case "edge-lost":
      case "shutdown":
        logger.info("Request cut off", { ...fields, phase: result.phase });
        break;
      default:
        logger.warn("Request failed", {
          ...fields,
          phase: result.phase,
          ...(result.error === undefined ? {} : describe(result.error)),
        });
    }
  }
}
