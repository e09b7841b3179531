/** What the connector itself answers through its tunnel: it stands before every rule. */
import type {
  HttpRequest,
  OutcomeClass,
  RequestListener,
  RequestPhase,
  UpgradeListener,
  WebSocketRequest,
} from "../types.ts";
import type { Backend, BackendContext } from "./backends/backend.ts";
import { createInProcessBackend } from "./backends/in-process.ts";
import { defaultOriginRequest } from "./ingress/defaults.ts";
import { RequestRecord } from "./request-record.ts";

export interface InternalOrigin {
  /** Lower case. */
  readonly hostname: string;
  /** As logs name it. */
  readonly service: string;
  readonly listener: RequestListener;
  readonly upgrade: UpgradeListener;
}

type VisitorRequest = HttpRequest | WebSocketRequest;

export class InternalBackend {
  readonly backend: Backend;
  readonly #hostname: string;

  constructor({ hostname, listener, service, upgrade }: InternalOrigin, context: BackendContext) {
    const backend = createInProcessBackend({ kind: "listener", listener, upgrade }, defaultOriginRequest, context);
    this.backend = { ...backend, service };
    this.#hostname = hostname;
  }

  matches({ authority }: VisitorRequest): boolean {
    const { length } = this.#hostname;
    // Called for every request: most hosts differ in their length already.
    if (authority.length < length) return false;
    const rest = authority.slice(length);
    return (rest === "" || /^\.?(?::\d+)?$/.test(rest)) && authority.slice(0, length).toLowerCase() === this.#hostname;
  }

  /** As it may be told of: its query holds the credentials of whoever asks. */
  shown<Request extends VisitorRequest>(request: Request): Request {
    const query = request.path.indexOf("?");
    return query < 0 ? request : { ...request, path: request.path.slice(0, query) };
  }
}

/** The connector closes a socket of its own early only where a client has left, or takes nothing any more: no origin has failed. */
export class InternalRecord extends RequestRecord {
  override finish(outcome: OutcomeClass, phase?: RequestPhase, error?: Error): void {
    if (outcome === "origin-reset") super.finish("client-abort", phase);
    else super.finish(outcome, phase, error);
  }
}
