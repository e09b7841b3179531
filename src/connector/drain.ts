/** The end of a registered connection: unregister, serve what still comes, then close (operations § 4.5). */
import type { CloseReason } from "../types.ts";
import type { RegisteredConnection } from "./connection.ts";

/** A connection is drained once it has been without a stream, and its UDP sessions without a payload, for this long: the edge's routing needs a moment to follow. */
const QUIET_MS = 1_000;
const POLL_MS = 50;

/** Node's timers can't wait longer. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A moment that may be brought forward, never put off. */
export class Deadline {
  /** Resolves when the moment has come. */
  readonly reached: Promise<void>;
  #at: number;
  #timer: NodeJS.Timeout | undefined;
  #resolve!: () => void;

  constructor(delayMs: number) {
    this.reached = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#at = Number.POSITIVE_INFINITY;
    this.bringForward(delayMs);
  }

  get leftMs(): number {
    return Math.max(0, this.#at - performance.now());
  }

  bringForward(delayMs: number): void {
    const delay = Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS);
    const at = performance.now() + delay;
    if (at >= this.#at) return;
    this.#at = at;
    clearTimeout(this.#timer);
    if (delay === 0) this.#resolve();
    else this.#timer = setTimeout(() => this.#resolve(), delay);
  }

  /** Nobody waits any more. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}

export interface DrainOptions {
  readonly reason: CloseReason;
  readonly deadline: Deadline;
  /** How long the edge may take to acknowledge the end of the registration; the connection serves on meanwhile. */
  readonly unregisterTimeoutMs: number;
  /** The edge has acknowledged, or has failed to. Not called where it could not be asked. */
  readonly onUnregistered: (ok: boolean) => void;
}

/** Resolves when the connection is closed: once it is drained, at the deadline, or when the edge closed it. Never rejects. */
export async function drain(connection: RegisteredConnection, options: DrainOptions): Promise<void> {
  const stopped = new AbortController();
  const drained = unregister(connection, options).then((told) => quiet(connection, told, stopped.signal));
  await Promise.race([drained, options.deadline.reached, connection.edge.closed]);
  stopped.abort();
  await connection.close(options.reason);
}

/** Whether the edge has been told, in one way or the other. */
async function unregister(connection: RegisteredConnection, options: DrainOptions): Promise<boolean> {
  const { client, edge } = connection;
  if (connection.controlEnded) {
    // Without its control stream there is nobody to tell, and no reason to complain; new streams can still be refused.
    edge.goaway?.();
    return edge.goaway !== undefined;
  }
  let told = true;
  try {
    await client.unregister({ timeoutMs: Math.max(1, options.unregisterTimeoutMs) });
    options.onUnregistered(true);
  } catch {
    // Refused, lost or late: what is open is served all the same.
    edge.goaway?.();
    told = edge.goaway !== undefined;
    options.onUnregistered(false);
  }
  // As in cloudflared the control stream ends here, and the edge drains (wire § 10.7).
  client.close();
  return told;
}

/**
 * Resolves when no stream has been open and no UDP session used for QUIET_MS, or at the signal. An edge that could not be told may go on for ever: the
 * first moment without a stream has to do.
 */
function quiet(connection: RegisteredConnection, told: boolean, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const begun = performance.now();
    let since = begun;
    const finish = (): void => {
      clearInterval(timer);
      resolve();
    };
    const timer = setInterval(() => {
      const now = performance.now();
      // A short stream may have come and gone between two looks.
      const { datagrams, openStreams } = connection.edge;
      const isIdle = openStreams === 0;
      since = isIdle ? Math.max(since, connection.lastRequestAt, datagrams?.sessionsUsedAt ?? 0) : now;
      if (now - since >= QUIET_MS || (!told && isIdle && now - begun >= QUIET_MS)) finish();
    }, POLL_MS);
    signal.addEventListener("abort", finish, { once: true });
  });
}
