/** Runs the health check: a look at the connections and a probe each interval, restarts by the ladder. */
import type { HealthCheckConfig } from "../config/tunnel-config.ts";
import {
  advance,
  freshPolicy,
  isSuccess,
  judge,
  judgeOrigins,
  judgeProbe,
  type ProbeAnswer,
  type Verdict,
} from "./policy.ts";
import type { Look } from "./findings.ts";
import type { Probe, ProbeReply } from "./probe.ts";

/** An answer later than this is none. */
const PROBE_TIMEOUT_MS = 10_000;

/** Waits for the first answer through the public hostname, which may need some seconds after the registration. */
const READY_ATTEMPTS_MS: readonly number[] = [1_000, 2_000, 4_000, 8_000];

/** What one look came to. */
export interface ProbeResult {
  readonly probe: "registration" | "public_hostname" | "origin";
  /** What was looked at: a host, an origin; empty for the registration. */
  readonly target: string;
  readonly ok: boolean;
  readonly milliseconds: number | undefined;
}

export interface OriginReading {
  readonly origin: string;
  /** Why it can't be reached. */
  readonly problem: string | undefined;
  readonly milliseconds: number;
}

/** What the public hostname was asked, and what came. */
interface Asked {
  readonly url: URL;
  readonly answer: ProbeAnswer;
  readonly milliseconds: number;
}

/** A health check as a whole. */
export interface CheckReport extends Look {
  readonly verdict: Verdict;
  /** What was asked for through the public hostname. */
  readonly url: URL | undefined;
  /** Failures in a row before it; undefined while a restart is awaited. */
  readonly failures: number | undefined;
  readonly probes: readonly ProbeResult[];
}

export interface MonitorOptions {
  readonly config: HealthCheckConfig;
  /** The wait before the n-th restart in a row, n from 0. */
  readonly restartDelayMs: (step: number) => number;
  /** A connection is registered whose edge answers. */
  readonly isRegistered: () => boolean;
  /** A request has come through the public hostname before. */
  readonly isReady: () => boolean;
  /** What to GET; undefined while the public hostname is not known. */
  readonly probeUrl: () => URL | undefined;
  readonly probe: Probe;
  /** Looks at the origins; undefined where nobody asked for it. Never rejects. */
  readonly probeOrigins: ((signal: AbortSignal) => Promise<readonly OriginReading[]>) | undefined;
  /** True when the probe's request has come through this tunnel itself since then (performance.now()). */
  readonly carried: (since: number) => boolean;
  readonly onCheck: (report: CheckReport) => void;
  /** A 2xx came back through the public hostname. */
  readonly onReady: () => void;
  /** A restart is decided; `onRestart` follows after `delayMs` unless a check succeeds before. */
  readonly onRestarting: (delayMs: number, reason: string) => void;
  readonly onRestart: () => void;
}

/** Programs may inject a probe, and in JavaScript it may resolve with anything. */
function readAnswer(answer: unknown): ProbeReply {
  const status: unknown = Reflect.get(Object(answer), "status");
  const body: unknown = Reflect.get(Object(answer), "body");
  if (typeof status !== "number") throw new TypeError("the probe's answer has no status");
  const location: unknown = Reflect.get(Object(answer), "location");
  const serviceToken: unknown = Reflect.get(Object(answer), "serviceToken");
  return {
    status,
    body: typeof body === "string" ? body : "",
    location: typeof location === "string" ? location : undefined,
    serviceToken: serviceToken === "sent" || serviceToken === "withheld" ? serviceToken : undefined,
  };
}

export class HealthMonitor {
  readonly #options: MonitorOptions;
  readonly #abort = new AbortController();
  #policy = freshPolicy;
  #timer: NodeJS.Timeout | undefined;
  #restartTimer: NodeJS.Timeout | undefined;
  #readyTimer: NodeJS.Timeout | undefined;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** An interval of 0 turns the check off. */
  start(): void {
    this.#schedule();
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#readyTimer);
  }

  /** A connection has registered: tries for a moment whether the public hostname leads to it. Failures don't count. */
  awaitReady(attempt = 0): void {
    const delay = READY_ATTEMPTS_MS[attempt];
    clearTimeout(this.#readyTimer);
    if (delay === undefined || this.#options.config.intervalMs === 0) return;
    if (this.#abort.signal.aborted || this.#options.isReady()) return;
    this.#readyTimer = setTimeout(() => {
      const url = this.#options.probeUrl();
      if (url === undefined) return;
      void this.#probe(url).then((probe) => {
        if (!this.#isReady(probe)) this.awaitReady(attempt + 1);
      });
    }, delay);
  }

  #schedule(): void {
    const { intervalMs } = this.#options.config;
    if (intervalMs === 0 || this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => {
      void this.#check().then(() => this.#schedule());
    }, intervalMs);
  }

  async #check(): Promise<void> {
    const { config, isRegistered, onCheck, probeOrigins } = this.#options;
    const began = performance.now();
    const looking = probeOrigins?.(this.#abort.signal);
    let asked = await this.#ask();
    const origins = (await looking) ?? [];
    // Where connections have come meanwhile nothing is known of the hostname without a look.
    asked ??= await this.#ask();
    if (this.#abort.signal.aborted) return;
    const probe = asked?.answer;
    const url = asked?.url ?? this.#options.probeUrl();
    // Looked at again: the probe takes its time.
    const registered = isRegistered();
    const problems = origins.map(({ problem }) => problem).filter((problem) => problem !== undefined);
    const verdict = judge({ registered, probe, origins: problems });
    const awaitsRestart = this.#restartTimer !== undefined;
    const probes: ProbeResult[] = [{ probe: "registration", target: "", ok: registered, milliseconds: undefined }];
    if (asked !== undefined) {
      const { answer, milliseconds } = asked;
      probes.push({ probe: "public_hostname", target: asked.url.host, ok: isSuccess(answer), milliseconds });
    }
    for (const origin of origins) {
      const { milliseconds: took, problem } = origin;
      probes.push({ probe: "origin", target: origin.origin, ok: problem === undefined, milliseconds: took });
    }
    const hostname = probe === undefined ? undefined : judgeProbe(probe);
    const look: Look = { hostname, origins: judgeOrigins(problems), since: began };
    onCheck({ ...look, verdict, url, failures: awaitsRestart ? undefined : this.#policy.failures, probes });
    if (probe !== undefined) this.#isReady(probe);
    if (verdict.kind === "healthy") this.#cancelRestart();
    // One restart at a time: what fails while it is awaited is the same failure.
    if (verdict.kind === "failed" && awaitsRestart) return;
    const step = advance(this.#policy, verdict, config.maxFailures);
    this.#policy = step.state;
    if (verdict.kind === "failed" && step.restart !== undefined) this.#restart(step.restart, verdict.message);
  }

  #restart(step: number, reason: string): void {
    const { onRestart, onRestarting, restartDelayMs } = this.#options;
    const delayMs = restartDelayMs(step);
    onRestarting(delayMs, reason);
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = undefined;
      onRestart();
    }, delayMs);
  }

  #cancelRestart(): void {
    clearTimeout(this.#restartTimer);
    this.#restartTimer = undefined;
  }

  #isReady(probe: ProbeAnswer): boolean {
    const ready = isSuccess(probe);
    if (ready) this.#options.onReady();
    return ready;
  }

  /** Undefined where there is no way, or nobody to ask. */
  async #ask(): Promise<Asked | undefined> {
    const { isRegistered, probeUrl } = this.#options;
    const url = probeUrl();
    if (url === undefined || !isRegistered()) return undefined;
    const since = performance.now();
    const answer = await this.#probe(url);
    return { url, answer, milliseconds: performance.now() - since };
  }

  async #probe(url: URL): Promise<ProbeAnswer> {
    const { carried, probe } = this.#options;
    const since = performance.now();
    const limit = new AbortController();
    const cut = new Promise<never>((_resolve, reject) => {
      limit.signal.addEventListener("abort", () => reject(limit.signal.reason), { once: true });
    });
    const abort = (): void => limit.abort(this.#abort.signal.reason);
    const timer = setTimeout(
      () => limit.abort(new Error(`no answer within ${PROBE_TIMEOUT_MS / 1000} s`)),
      PROBE_TIMEOUT_MS,
    );
    this.#abort.signal.addEventListener("abort", abort, { once: true });
    try {
      // A probe that does not heed its signal must not stop the checks.
      const answer: unknown = await Promise.race([probe(url, limit.signal), cut]);
      return { kind: "answer", ...readAnswer(answer), carried: carried(since) };
    } catch (error) {
      return { kind: "no-answer", error: error instanceof Error ? error : new Error(String(error)) };
    } finally {
      clearTimeout(timer);
      this.#abort.signal.removeEventListener("abort", abort);
    }
  }
}
