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
  /** The request that finds out. */
  #trial: RequestRecord | undefined;
  /** It does so ahead of its time, as no other origin was left. */
  #isEarly = false;

  constructor(route: WireRoute, logger: Logger) {
    this.route = route;
    this.#logger = logger;
  }

  /** Whatever has become of a request that has ended, the next one may try. */
  get isOnTrial(): boolean {
    return this.#trial?.finished === false;
  }

  /** One request at a time finds out whether it works again, however long that takes: the others don't wait for it. */
  takesRequests(now: number): boolean {
    return this.#pauseMs === 0 || (now >= this.#pausedUntil && !this.isOnTrial);
  }

  chosen(record: RequestRecord, now: number): void {
    if (this.#pauseMs === 0 || this.isOnTrial) return;
    this.#trial = record;
    this.#isEarly = now < this.#pausedUntil;
    // For a trial that ends without a result.
    if (!this.#isEarly) this.#pausedUntil = now + this.#pauseMs;
  }

  failed(error: OriginError, record: RequestRecord): void {
    const isTrial = this.#trial === record;
    if (isTrial) this.#trial = undefined;
    if (this.#pauseMs === 0) {
      this.#logger.warn("Origin can't be reached, and is passed over", {
        originService: this.route.service,
        error: error.message,
        code: error.code,
      });
      this.#pauseMs = FIRST_PAUSE_MS;
    } else if (isTrial && !this.#isEarly) {
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    } else {
      // Requests that were under way together fail together: that is one failure.
      return;
    }
    this.#pausedUntil = performance.now() + this.#pauseMs;
  }

  works(): void {
    if (this.#pauseMs === 0) return;
    this.#pauseMs = 0;
    this.#trial = undefined;
    this.#logger.info("Origin can be reached again", { originService: this.route.service });
  }
}

/** One request's way through the origins. */
class Attempt implements NextOrigin {
  readonly #record: RequestRecord;
  /** Not tried yet, in their order. */
  readonly #left: Set<Candidate>;
  #current: Candidate | undefined;

  constructor(candidates: readonly Candidate[], record: RequestRecord) {
    this.#left = new Set(candidates);
    this.#record = record;
  }

  /** False when there is no origin left to try. */
  serve(request: HttpRequest | WebSocketRequest): boolean {
    const candidate = this.#choose();
    if (candidate === undefined) return false;
    this.#current = candidate;
    try {
      candidate.route.serve(request, this.#record, this);
    } catch (error) {
      // There was nothing to dial with.
      if (!(error instanceof OriginError)) throw error;
      candidate.failed(error, this.#record);
      if (!this.serve(request)) throw error;
    }
    return true;
  }

  reached(): void {
    this.#current?.works();
  }

  unreachable(error: OriginError, request: HttpRequest | WebSocketRequest): boolean {
    this.#current?.failed(error, this.#record);
    try {
      return this.serve(request);
    } catch (thrown) {
      failRequest(request, this.#record, thrown);
      return true;
    }
  }

  /** Where none takes requests, those that are left out are tried all the same: last the ones that another request waits for. */
  #choose(): Candidate | undefined {
    const now = performance.now();
    const left = [...this.#left];
    const candidate = left.find((each) => each.takesRequests(now)) ?? left.find((each) => !each.isOnTrial) ?? left[0];
    if (candidate === undefined) return undefined;
    this.#left.delete(candidate);
    candidate.chosen(this.#record, now);
    return candidate;
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
