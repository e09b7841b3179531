/** The lines that tell of requests: one each, when it is over. */
import { UnderpassError } from "../../errors.ts";
import type { LogFields, Logger, RequestOutcome } from "../../types.ts";
import { AccessDeniedError } from "../access/errors.ts";
import type { ProxiedRequest } from "../proxied-request.ts";
import { ObservedStream } from "./observed-stream.ts";
import { shownHeaders } from "./shown-headers.ts";

/** Nothing; what failed or was cut off (the rest for debugging); every request; every request with its headers. */
export const REQUEST_LOG_MODES = ["off", "errors", "summary", "headers"] as const;
export type RequestLogMode = (typeof REQUEST_LOG_MODES)[number];

/** What a stream was seen to do, where the mode asks for it. */
export type Observed = ObservedStream | undefined;

/** Whoever follows the log from afar gets the lines of all requests, whatever is written here. */
export interface LogFollowers {
  readonly attached: boolean;
  /** Writes to them alone. */
  readonly followers: Logger;
}

export class RequestLog {
  readonly #mode: RequestLogMode;
  readonly #logger: Logger;
  readonly #tap: LogFollowers | undefined;

  constructor(mode: RequestLogMode, logger: Logger, tap?: LogFollowers) {
    this.#mode = mode;
    this.#logger = logger;
    this.#tap = tap;
  }

  /** The request with a stream that is observed, where lines tell of what went through it. */
  observe<Request extends ProxiedRequest>(
    request: Request,
  ): { readonly request: Request; readonly observed: Observed } {
    if (this.#mode === "off" || this.#mode === "errors") return { request, observed: undefined };
    const observed = new ObservedStream(request.stream);
    return { request: { ...request, stream: observed }, observed };
  }

  finished(request: ProxiedRequest, result: RequestOutcome, service: string, observed: Observed): void {
    const logger = this.#mode === "off" ? this.#following : this.#logger;
    if (logger === undefined) return;
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
      originService: service,
      ...(observed === undefined ? {} : { bytesIn: observed.received, bytesOut: observed.sent }),
      ...(observed !== undefined && this.#mode === "headers"
        ? { requestHeaders: shownHeaders(request.headers), responseHeaders: shownHeaders(observed.headers) }
        : {}),
    };
    const usual = this.#mode === "errors" || this.#mode === "off" ? "debug" : "info";
    const { phase } = result;
    switch (result.class) {
      case "ok":
        logger[usual]("Request served", fields);
        break;
      case "client-abort":
        logger[usual]("Request cancelled by the visitor", { ...fields, phase });
        break;
      case "edge-lost":
      case "shutdown":
        logger.info("Request cut off", { ...fields, phase });
        break;
      default:
        logger.warn("Request failed", {
          ...fields,
          phase,
          ...(result.error === undefined ? {} : describe(result.error)),
        });
    }
  }

  get #following(): Logger | undefined {
    return this.#tap?.attached === true ? this.#tap.followers : undefined;
  }
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
