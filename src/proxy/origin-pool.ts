/** The keep-alive connections of one origin, under whatever TLS names it is asked for: last in, first out, so that those not needed grow old and go. */
import type { HeaderLineCache } from "../protocol/http1/header-line.ts";
import { ResponseParser } from "../protocol/http1/response-parser.ts";
import type { OriginRequestOptions } from "../types.ts";
import type { OpenConnections } from "./open-connections.ts";
import { type ConnectionUser, MAX_TIMER_MS, OriginConnection } from "./origin-connection.ts";
import type { OriginTarget } from "./origin-target.ts";

/** A connection for HTTP. While it is idle it is its own user: whatever happens on it then makes it useless. */
export class HttpConnection implements ConnectionUser {
  readonly connection: OriginConnection;
  readonly parser: ResponseParser;
  /** It has carried a request before: the origin may have closed it without our knowing yet. */
  reused = false;
  idleUntil = 0;
  readonly #pool: OriginPool;

  constructor(
    pool: OriginPool,
    target: OriginTarget,
    options: OriginRequestOptions,
    user: ConnectionUser,
    lines: HeaderLineCache,
  ) {
    this.#pool = pool;
    this.parser = new ResponseParser(lines);
    this.connection = new OriginConnection(target, options, user, () => pool.closed(this));
  }

  onOpen(): void {}

  /** RFC 9112 § 9.2: a response that nobody asked for; whoever came next would get it. */
  onBytes(): void {
    this.#drop();
  }

  onOriginEnd(): void {
    this.#drop();
  }

  onGone(): void {
    this.#drop();
  }

  #drop(): void {
    this.#pool.forget(this);
    this.connection.destroy();
  }
}

/** An origin that says `Keep-Alive: timeout=5` closes at 5 s: stop using it earlier, so that no request meets the close. */
const KEEP_ALIVE_MARGIN_MS = 1_000;

export class OriginPool {
  readonly #options: OriginRequestOptions;
  readonly #lines: HeaderLineCache;
  readonly #connections: OpenConnections;
  /** Oldest first. */
  readonly #idle: HttpConnection[] = [];
  readonly #maxIdle: number;
  #sweep: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(options: OriginRequestOptions, lines: HeaderLineCache, connections: OpenConnections) {
    this.#options = options;
    this.#lines = lines;
    this.#connections = connections;
    // Go's rule for 0: no limit in all, but two a host, and this is one host.
    this.#maxIdle = options.keepAliveConnections === 0 ? 2 : options.keepAliveConnections;
  }

  /** The idle connection to `target` that was used last, handed to `user`. */
  acquire(target: OriginTarget, user: ConnectionUser): HttpConnection | undefined {
    const found = this.#takeIdle(target);
    if (found === undefined) return undefined;
    if (found.idleUntil <= performance.now()) {
      // The rest of the stack may be younger in years: an origin can announce another timeout each time.
      found.connection.destroy();
      return this.acquire(target, user);
    }
    found.connection.user = user;
    return found;
  }

  #takeIdle(target: OriginTarget): HttpConnection | undefined {
    const last = this.#idle.pop();
    if (last === undefined || last.connection.target === target) return last;
    this.#idle.push(last);
    const at = this.#idle.findLastIndex(({ connection }) => connection.target === target);
    return at < 0 ? undefined : this.#idle.splice(at, 1)[0];
  }

  dial(target: OriginTarget, user: ConnectionUser): HttpConnection {
    const http = new HttpConnection(this, target, this.#options, user, this.#lines);
    this.#connections.opened();
    return http;
  }

  /** Takes a connection whose last response has ended cleanly. */
  release(http: HttpConnection): void {
    if (this.#closing || (this.#idle.length >= this.#maxIdle && !this.#makeRoom(http.connection.target))) {
      http.connection.destroy();
      return;
    }
    const now = performance.now();
    http.reused = true;
    http.idleUntil = now + this.#idleMs(http.parser.keepAliveSeconds);
    http.connection.user = http;
    http.connection.resume();
    this.#idle.push(http);
    if (this.#sweep === undefined) this.#armSweep(now);
  }

  /** By the oldest idle connection under another name, which must not keep this one's from being kept at all. */
  #makeRoom(target: OriginTarget): boolean {
    if (this.#maxIdle <= 0 || this.#idle.some(({ connection }) => connection.target === target)) return false;
    this.#idle.shift()?.connection.destroy();
    return true;
  }

  forget(http: HttpConnection): void {
    const at = this.#idle.indexOf(http);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  closed(http: HttpConnection): void {
    this.forget(http);
    this.#connections.closed();
  }

  /** Ends the idle connections, and keeps none from now on. */
  close(): void {
    this.#closing = true;
    clearTimeout(this.#sweep);
    for (const http of this.#idle.splice(0)) http.connection.destroy();
  }

  #idleMs(keepAliveSeconds: number | undefined): number {
    const own = this.#options.keepAliveTimeoutMs === 0 ? Number.POSITIVE_INFINITY : this.#options.keepAliveTimeoutMs;
    if (keepAliveSeconds === undefined) return own;
    return Math.min(own, Math.max(0, keepAliveSeconds * 1_000 - KEEP_ALIVE_MARGIN_MS));
  }

  /** One timer for all: it looks again when the first of them is due. */
  #armSweep(now: number): void {
    let due = Number.POSITIVE_INFINITY;
    for (const http of this.#idle) due = Math.min(due, http.idleUntil);
    this.#sweep = undefined;
    if (due === Number.POSITIVE_INFINITY) return;
    this.#sweep = setTimeout(() => this.#expire(), Math.min(MAX_TIMER_MS, Math.max(1, due - now)));
    this.#sweep.unref();
  }

  #expire(): void {
    const now = performance.now();
    for (const http of this.#idle.filter((each) => each.idleUntil <= now)) {
      this.forget(http);
      http.connection.destroy();
    }
    this.#armSweep(now);
  }
}
