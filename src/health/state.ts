/**
 * How a tunnel is, in one word (docs/monitoring.md):
 *
 *     starting ──▶ ready ⇄ degraded ⇄ down          any ──▶ stopping
 *
 * `down` still lives: `/live` says so, and connections are tried for on and on.
 */

export const TUNNEL_STATES = ["starting", "ready", "degraded", "down", "stopping"] as const;
export type TunnelState = (typeof TUNNEL_STATES)[number];

export interface StateFacts {
  /** A connection has registered before. */
  readonly everRegistered: boolean;
  readonly stopping: boolean;
  /** Registered connections whose edge answers. */
  readonly ready: number;
  readonly wanted: number;
  /** What the last health check found wrong, of the way through the public hostname and of the origins. */
  readonly problems: readonly string[];
}

export interface StateReading {
  readonly state: TunnelState;
  /** Why it is not ready; empty where it is. */
  readonly reasons: readonly string[];
}

export function readState({ everRegistered, problems, ready, stopping, wanted }: StateFacts): StateReading {
  if (stopping) return { state: "stopping", reasons: ["the tunnel is being closed"] };
  if (ready === 0) {
    const reasons = [everRegistered ? "no connection is registered" : "no connection has registered yet"];
    return { state: everRegistered ? "down" : "starting", reasons };
  }
  const short = ready < wanted ? [shortage(ready, wanted)] : [];
  const reasons = [...short, ...problems];
  return { state: reasons.length === 0 ? "ready" : "degraded", reasons };
}

function shortage(ready: number, wanted: number): string {
  return `${ready} of ${wanted} connections ${ready === 1 ? "is" : "are"} registered`;
}

/** A connection that is back within this time is not worth a word, nor are those that follow the first. */
const SHORTAGE_MS = 10_000;

export interface StateWatchOptions {
  readonly read: () => StateFacts;
  /** Called for each change. */
  readonly onChange: (reading: StateReading, previous: TunnelState) => void;
}

/** Tells changes of the state. A mere lack of connections must last before it counts as one. */
export class StateWatch {
  readonly #options: StateWatchOptions;
  #told: TunnelState = "starting";
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StateWatchOptions) {
    this.#options = options;
  }

  /** As it is now, told or not. */
  get reading(): StateReading {
    return readState(this.#options.read());
  }

  /** Something has changed. */
  update(): void {
    const facts = this.#options.read();
    const reading = readState(facts);
    const isShortage = reading.state === "degraded" && facts.problems.length === 0;
    if (isShortage && (this.#told === "ready" || this.#told === "starting")) {
      this.#timer ??= setTimeout(() => this.#tell(this.reading), SHORTAGE_MS);
      return;
    }
    this.#tell(reading);
  }

  #tell(reading: StateReading): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const previous = this.#told;
    if (reading.state === previous) return;
    this.#told = reading.state;
    this.#options.onChange(reading, previous);
  }
}
