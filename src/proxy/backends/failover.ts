/**
 * Several origins for one rule: the first that works serves, in their order. Health is learned from requests alone: an origin to
 * which no connection can be opened is left out for a time that doubles, and its request goes to the next one.
 */
import type { HttpRequest, Logger, WebSocketRequest } from "../../types.ts";
import { failRequest } from "../failed-request.ts";
import { OriginError } from "../origin-errors.ts";
import type { RequestRecord } from "../request-record.ts";
import type { NextOrigin, WireRoute } from "../wire-route.ts";
import type { BackendFactory } from "./backend.ts";
import { createWireRoute } from "./wire.ts";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

class Candidate {
  readonly route: WireRoute;
  readonly #logger: Logger;
  /** 0 = it works, as far as is known. */
  #pauseMs = 0;
  #pausedUntil = 0;
  /** A request is finding out. */
  #onTrial = false;

  constructor(route: WireRoute, logger: Logger) {
    this.route = route;
    this.#logger = logger;
  }

  /** One request at a time finds out whether it works again: the others don't wait for that. */
  takesRequest(now: number): boolean {
    if (this.#pauseMs === 0) return true;
    if (now < this.#pausedUntil) return false;
    this.#pausedUntil = now + this.#pauseMs;
    this.#onTrial = true;
    return true;
  }

  failed(error: OriginError): void {
    const { service } = this.route;
    if (this.#pauseMs === 0) {
      this.#logger.warn("Origin can't be reached, and is passed over", {
        originService: service,
        error: error.message,
        code: error.code,
      });
    }
    // Requests that were under way together fail together: that is one failure.
    if (this.#pauseMs === 0) this.#pauseMs = FIRST_PAUSE_MS;
    else if (this.#onTrial) this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    this.#onTrial = false;
    this.#pausedUntil = performance.now() + this.#pauseMs;
  }

  works(): void {
    if (this.#pauseMs === 0) return;
    this.#pauseMs = 0;
    this.#onTrial = false;
    this.#logger.info("Origin can be reached again", { originService: this.route.service });
  }
}

/** One request's way through the origins. */
class Attempt implements NextOrigin {
  readonly #candidates: readonly Candidate[];
  readonly #record: RequestRecord;
  readonly #tried = new Set<Candidate>();
  #current: Candidate | undefined;
  /** One that is left out has been tried all the same, as there was no other. */
  #isLast = false;

  constructor(candidates: readonly Candidate[], record: RequestRecord) {
    this.#candidates = candidates;
    this.#record = record;
  }

  /** False when there is no origin left to try. */
  serve(request: HttpRequest | WebSocketRequest): boolean {
    const candidate = this.#choose();
    if (candidate === undefined) return false;
    this.#tried.add(candidate);
    this.#current = candidate;
    try {
      candidate.route.serve(request, this.#record, this);
    } catch (error) {
      // There was nothing to dial with.
      if (!(error instanceof OriginError)) throw error;
      candidate.failed(error);
      if (!this.serve(request)) throw error;
    }
    return true;
  }

  reached(): void {
    this.#current?.works();
  }

  unreachable(error: OriginError, request: HttpRequest | WebSocketRequest): boolean {
    this.#current?.failed(error);
    try {
      return this.serve(request);
    } catch (thrown) {
      failRequest(request, this.#record, thrown);
      return true;
    }
  }

  #choose(): Candidate | undefined {
    if (this.#isLast) return undefined;
    const now = performance.now();
    const left = this.#candidates.filter((candidate) => !this.#tried.has(candidate));
    const chosen = left.find((candidate) => candidate.takesRequest(now));
    if (chosen !== undefined) return chosen;
    this.#isLast = true;
    return left[0];
  }
}

export const createFailoverBackend: BackendFactory<"failover"> = ({ origins }, options, context) => {
  const routes: WireRoute[] = [];
  try {
    for (const origin of origins) routes.push(createWireRoute(origin, options, context));
  } catch (error) {
    for (const route of routes) route.retire();
    throw error;
  }
  const candidates = routes.map((route) => new Candidate(route, context.logger));
  return {
    service: routes.map(({ service }) => service).join(", "),
    serve(request, _connIndex, record) {
      new Attempt(candidates, record).serve(request);
    },
    retire() {
      for (const route of routes) route.retire();
    },
  };
};
