/** The HTTP/2 connections of one origin: one for each TLS name, and more only when the origin's limit of streams is reached. */
import type { OriginRequestOptions } from "../../types.ts";
import type { OpenConnections } from "../open-connections.ts";
import { MAX_TIMER_MS } from "../origin-connection.ts";
import { OriginError } from "../origin-errors.ts";
import type { OriginTarget } from "../origin-target.ts";
import { OriginSession, type SessionContext, type SessionOwner } from "./session.ts";

/** Who needs a session. One of the three is called, once, unless `forget` was. */
export interface SessionWaiter {
  /** It has room for a request that is sent before this returns. */
  onSession(session: OriginSession): void;
  /** The origin speaks HTTP/1.1. */
  onDeclined(): void;
  onFailed(error: OriginError): void;
}

/** How long an origin that has declined HTTP/2 is not asked for it again. */
const DECLINED_MS = 5 * 60_000;

/** All that is known of one target. */
interface Place {
  readonly target: OriginTarget;
  readonly sessions: Set<OriginSession>;
  connecting: OriginSession | undefined;
  readonly waiters: Set<SessionWaiter>;
  declinedUntil: number;
}

export class OriginSessions implements SessionOwner {
  readonly #context: SessionContext;
  readonly #connections: OpenConnections;
  readonly #places = new Map<OriginTarget, Place>();
  /** Without streams, oldest first, and the timer that ends each. */
  readonly #idle = new Map<OriginSession, NodeJS.Timeout | undefined>();
  readonly #maxIdle: number;
  #retired = false;

  constructor(context: SessionContext, connections: OpenConnections) {
    this.#context = context;
    this.#connections = connections;
    this.#maxIdle = maxIdle(context.options);
  }

  /** An open session with room. */
  find(target: OriginTarget): OriginSession | undefined {
    for (const session of this.#places.get(target)?.sessions ?? []) {
      if (!session.isLeaving && session.hasRoom) return session;
    }
    return undefined;
  }

  speaksHttp1(target: OriginTarget): boolean {
    const place = this.#places.get(target);
    return place !== undefined && place.declinedUntil > performance.now();
  }

  /** Throws an OriginError when there is nothing to dial with. */
  wait(target: OriginTarget, waiter: SessionWaiter): void {
    const place = this.#placeOf(target);
    place.connecting ??= this.#dial(target);
    place.waiters.add(waiter);
  }

  /** When nobody waits any more, there is no need to connect either. */
  forget(target: OriginTarget, waiter: SessionWaiter): void {
    const place = this.#places.get(target);
    if (place?.waiters.delete(waiter) !== true || place.waiters.size > 0) return;
    const { connecting } = place;
    place.connecting = undefined;
    connecting?.close();
    this.#tidy(place);
  }

  /** Sessions end as soon as they have nothing to do. */
  retire(): void {
    this.#retired = true;
    for (const session of this.#idle.keys()) this.#end(session);
  }

  // SessionOwner.

  ready(session: OriginSession): void {
    const place = this.#placeOf(session.target);
    if (place.connecting === session) place.connecting = undefined;
    place.sessions.add(session);
    if (!session.hasRoom) {
      this.#failAll(
        place,
        new OriginError("origin-refused", "connect", `${session.target.where} takes no HTTP/2 streams`),
      );
    }
    this.#serve(place, session);
    this.changed(session);
  }

  declined(session: OriginSession): void {
    const place = this.#placeOf(session.target);
    place.connecting = undefined;
    place.declinedUntil = performance.now() + DECLINED_MS;
    for (const waiter of take(place.waiters)) waiter.onDeclined();
  }

  changed(session: OriginSession): void {
    const place = this.#places.get(session.target);
    if (place === undefined || !place.sessions.has(session)) return;
    if (session.openStreams > 0) {
      this.#busy(session);
    } else if (this.#retired || session.isLeaving || (this.#maxIdle === 0 && session.requests > 0)) {
      this.#end(session);
    } else if (!this.#idle.has(session)) {
      this.#rest(session);
    }
  }

  gone(session: OriginSession, error: Error): void {
    const place = this.#placeOf(session.target);
    this.#busy(session);
    place.sessions.delete(session);
    if (place.connecting === session) {
      place.connecting = undefined;
      this.#failAll(place, neverReady(error, session.target));
    }
    this.#tidy(place);
  }

  closed(): void {
    this.#connections.closed();
  }

  #dial(target: OriginTarget): OriginSession {
    const session = new OriginSession(target, this.#context, this);
    this.#connections.opened();
    return session;
  }

  #placeOf(target: OriginTarget): Place {
    const known = this.#places.get(target);
    if (known !== undefined) return known;
    const place: Place = {
      target,
      sessions: new Set(),
      connecting: undefined,
      waiters: new Set(),
      declinedUntil: 0,
    };
    this.#places.set(target, place);
    return place;
  }

  /** Those for whom there is no room need one more connection. */
  #serve(place: Place, session: OriginSession): void {
    for (const waiter of place.waiters) {
      if (!session.hasRoom) break;
      place.waiters.delete(waiter);
      waiter.onSession(session);
    }
    if (place.waiters.size === 0 || place.connecting !== undefined) return;
    try {
      place.connecting = this.#dial(place.target);
    } catch (error) {
      if (!(error instanceof OriginError)) throw error;
      this.#failAll(place, error);
    }
  }

  #failAll(place: Place, error: OriginError): void {
    for (const waiter of take(place.waiters)) waiter.onFailed(error);
  }

  #busy(session: OriginSession): void {
    clearTimeout(this.#idle.get(session));
    this.#idle.delete(session);
  }

  #rest(session: OriginSession): void {
    const { keepAliveTimeoutMs: limit } = this.#context.options;
    const timer = limit > 0 ? setTimeout(() => this.#end(session), Math.min(limit, MAX_TIMER_MS)) : undefined;
    timer?.unref();
    this.#idle.set(session, timer);
    for (const oldest of this.#idle.keys()) {
      if (this.#idle.size <= Math.max(1, this.#maxIdle)) break;
      this.#end(oldest);
    }
  }

  #end(session: OriginSession): void {
    this.#busy(session);
    const place = this.#placeOf(session.target);
    place.sessions.delete(session);
    session.close();
    this.#tidy(place);
  }

  /** Visitors may invent names without end: those without a connection are forgotten. */
  #tidy(place: Place): void {
    const isUsed = place.sessions.size > 0 || place.waiters.size > 0 || place.connecting !== undefined;
    if (!isUsed && place.declinedUntil <= performance.now()) this.#places.delete(place.target);
  }
}

/** As the HTTP/1.1 pool reads it: 0 = Go's two a host, negative = none. */
function maxIdle({ keepAliveConnections: wanted }: OriginRequestOptions): number {
  return wanted === 0 ? 2 : Math.max(0, wanted);
}

function take(waiters: Set<SessionWaiter>): SessionWaiter[] {
  const taken = [...waiters];
  waiters.clear();
  return taken;
}

/** Nothing of a request was sent. */
function neverReady(error: Error, { where, tls }: OriginTarget): OriginError {
  if (error instanceof OriginError) return error;
  const advice = tls === undefined ? "; would http:// be right?" : "";
  return new OriginError("origin-protocol", "connect", `${where} does not answer in HTTP/2${advice}`, error);
}
