/**
 * Tells systemd how the tunnel is: sd_notify(3). Its socket takes datagrams, which Node.js can't send to a unix socket, so that each
 * message goes through the program systemd-notify; there are few. The sender is then a child, which the unit must permit by
 * NotifyAccess=all.
 */
import type { Environment } from "../config/interpolate.ts";
import type { StateChange, Tunnel } from "../connector/api.ts";
import type { Logger } from "../types.ts";

/** Passes assignments such as `READY=1` on; rejects where that fails. */
export type SendToSystemd = (assignments: readonly string[]) => Promise<void>;

export interface SystemdOptions {
  readonly env: Environment;
  readonly pid: number;
  readonly tunnel: Pick<Tunnel, "on" | "once">;
  readonly logger: Logger;
  readonly send?: SendToSystemd;
  /** How long a start may take. */
  readonly readyWithinMs?: number;
}

/** What the one who runs the tunnel reports. */
export interface Systemd {
  /** Runs a reload of the configuration between the two messages that frame it. */
  reload(work: () => Promise<void>): Promise<void>;
  stopping(): void;
  /** Resolves when all has been said. */
  end(): Promise<void>;
}

/** Where nobody is to be told. */
export const noSystemd: Systemd = { reload: (work) => work(), stopping: () => {}, end: async () => {} };

/** A tunnel that can't register goes on trying: the service has started all the same, and its status says how it fares. */
const READY_WITHIN_MS = 60_000;
/** Beyond it, for a slow machine. */
const START_MARGIN_MS = 30_000;
const SEND_TIMEOUT_MS = 10_000;

export function tellSystemd(options: SystemdOptions): Systemd {
  return new Notifier(options);
}

class Notifier implements Systemd {
  readonly #send: SendToSystemd;
  readonly #logger: Logger;
  readonly #timers: NodeJS.Timeout[] = [];
  /** One message after another: their order is their meaning. */
  #queue: Promise<void> = Promise.resolve();
  #pingWaits = false;
  #ready = false;
  #silenced = false;
  /** Each cause is told once. */
  #failure = "";
  #status = "Connecting to Cloudflare";

  constructor({ env, logger, pid, readyWithinMs = READY_WITHIN_MS, send, tunnel }: SystemdOptions) {
    this.#logger = logger;
    this.#send = send ?? sendByProgram(env);
    this.#tell([this.#statusLine, `EXTEND_TIMEOUT_USEC=${(readyWithinMs + START_MARGIN_MS) * 1000}`]);
    tunnel.once("registered", () => this.#setReady("Registered with Cloudflare"));
    tunnel.on("state", (change) => this.#setState(change));
    this.#timers.push(setTimeout(() => this.#setReady("No connection has registered yet; trying on"), readyWithinMs));
    const watchdog = watchdogInterval(env, pid);
    // Of this event loop: one that hangs sends nothing, and systemd starts the service anew.
    if (watchdog !== undefined) this.#timers.push(setInterval(() => this.#ping(), watchdog));
    for (const timer of this.#timers) timer.unref();
  }

  async reload(work: () => Promise<void>): Promise<void> {
    // Before READY=1 the second message would be taken for that.
    const frames = this.#ready;
    if (frames) this.#tell(["RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`]);
    try {
      await work();
    } finally {
      if (frames) this.#tell(["READY=1", this.#statusLine]);
    }
  }

  stopping(): void {
    this.#status = "Finishing requests in progress";
    this.#tell(["STOPPING=1", this.#statusLine]);
  }

  async end(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#queue;
  }

  get #statusLine(): string {
    // A line ends an assignment.
    return `STATUS=${this.#status.replaceAll(/[\r\n]+/g, " ")}`;
  }

  #setReady(status: string): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#status = status;
    this.#tell(["READY=1", this.#statusLine]);
  }

  #setState({ reasons, state }: StateChange): void {
    if (state === "stopping") return;
    this.#status = reasons.length === 0 ? state : `${state}: ${reasons.join("; ")}`;
    this.#tell([this.#statusLine]);
  }

  #ping(): void {
    if (this.#pingWaits) return;
    this.#pingWaits = true;
    this.#tell(["WATCHDOG=1"]);
    this.#queue = this.#queue.then(() => {
      this.#pingWaits = false;
    });
  }

  #tell(assignments: readonly string[]): void {
    this.#queue = this.#queue
      .then(() => (this.#silenced ? undefined : this.#send(assignments)))
      .catch((error: unknown) => this.#failed(error));
  }

  #failed(error: unknown): void {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      this.#silenced = true;
      this.#logger.warn(
        "systemd is not told how the tunnel is: the program systemd-notify is missing; Type=exec without WatchdogSec needs none",
      );
    } else {
      const { message } = error instanceof Error ? error : new Error(String(error));
      if (message === this.#failure) return;
      this.#failure = message;
      this.#logger.warn(
        "systemd is not told how the tunnel is: systemd-notify has failed; a unit with NotifyAccess=all would be right",
        { error },
      );
    }
  }
}

/** It returns once systemd has the message, so that the sender is still there to be looked up. */
function sendByProgram(env: Environment): SendToSystemd {
  const childEnv = { PATH: env["PATH"] ?? "/usr/bin:/bin", NOTIFY_SOCKET: env["NOTIFY_SOCKET"] };
  return async (assignments) => {
    // Who is not under systemd does not load it.
    const { execFile } = await import("node:child_process");
    return new Promise((resolve, reject) => {
      execFile("systemd-notify", assignments, { env: childEnv, timeout: SEND_TIMEOUT_MS }, (error, _stdout, stderr) => {
        if (error === null) resolve();
        else reject(error.code === "ENOENT" || stderr.trim() === "" ? error : new Error(stderr.trim().slice(0, 500)));
      });
    });
  };
}

/** Milliseconds between two signs of life: half of what systemd waits. Undefined where it waits for none, or not of this process. */
function watchdogInterval(env: Environment, pid: number): number | undefined {
  const { WATCHDOG_PID: whose, WATCHDOG_USEC: limit } = env;
  if (limit === undefined || !/^[1-9]\d{0,14}$/.test(limit)) return undefined;
  if (whose !== undefined && whose !== "" && whose !== String(pid)) return undefined;
  return Math.max(1, Math.min(Math.floor(Number(limit) / 2000), 2_147_000_000));
}
