/** Echo requests through the system's `ping`, as Node has no ICMP sockets: a process for each, without a shell, bounded in number and rate. */
import { spawn, type ChildProcess } from "node:child_process";
import { MAX_PINGS, MAX_PINGS_PER_SECOND, PING_KILL_MS } from "./limits.ts";
import { type PingCommand, pingCommands } from "./ping-command.ts";

export interface SystemPingOptions {
  readonly platform: NodeJS.Platform;
  /** Of which only what `ping` needs is passed on. */
  readonly env: NodeJS.ProcessEnv;
}

/** `busy`: as many are under way, or were started in the last second, as may be. */
export type PingResult = "answered" | "silent" | "busy";

const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;
const PROBE_BYTES = 16;

/** Windows prints half a kilobyte. */
const MAX_OUTPUT = 4096;

export class SystemPing {
  readonly #options: SystemPingOptions;
  readonly #children = new Set<ChildProcess>();
  /** Which of the system's commands works. */
  readonly #chosen = new Map<4 | 6, number>();
  #allowance = MAX_PINGS_PER_SECOND;
  #allowanceAt = performance.now();
  #closed = false;

  constructor(options: SystemPingOptions) {
    this.#options = options;
  }

  /** Whether this machine answers itself over `family`. */
  async probe(family: 4 | 6): Promise<boolean> {
    const commands = this.#commands(family, LOOPBACK[family], PROBE_BYTES);
    for (const [index, command] of commands.entries()) {
      if (!(await this.#run(command))) continue;
      this.#chosen.set(family, index);
      return true;
    }
    return false;
  }

  /** `address` is an IP. */
  async ping(family: 4 | 6, address: string, dataBytes: number): Promise<PingResult> {
    const command = this.#commands(family, address, dataBytes)[this.#chosen.get(family) ?? 0];
    if (command === undefined || this.#closed) return "silent";
    if (this.#children.size >= MAX_PINGS || !this.#isAllowed()) return "busy";
    return (await this.#run(command)) ? "answered" : "silent";
  }

  /** Ends every process. */
  close(): void {
    this.#closed = true;
    for (const child of this.#children) child.kill("SIGKILL");
  }

  #commands(family: 4 | 6, address: string, dataBytes: number): readonly PingCommand[] {
    const { platform, env } = this.#options;
    return pingCommands(platform, family, address, dataBytes, env["SystemRoot"]);
  }

  #isAllowed(): boolean {
    const now = performance.now();
    const earned = ((now - this.#allowanceAt) / 1000) * MAX_PINGS_PER_SECOND;
    this.#allowance = Math.min(MAX_PINGS_PER_SECOND, this.#allowance + earned);
    this.#allowanceAt = now;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }

  #run({ file, args, answered }: PingCommand): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    const { PATH, SystemRoot } = this.#options.env;
    return new Promise((resolve) => {
      let child: ChildProcess;
      try {
        child = spawn(file, args, {
          // English, which is what busybox and iputils print without a locale; no secrets of ours.
          env: { PATH, SystemRoot, LC_ALL: "C" },
          stdio: ["ignore", answered === undefined ? "ignore" : "pipe", "ignore"],
          windowsHide: true,
        });
      } catch {
        resolve(false);
        return;
      }
      this.#children.add(child);
      const timer = setTimeout(() => child.kill("SIGKILL"), PING_KILL_MS);
      let output = "";
      child.stdout?.setEncoding("latin1").on("data", (text: string) => {
        if (output.length < MAX_OUTPUT) output += text;
      });
      const settle = (isAnswered: boolean): void => {
        clearTimeout(timer);
        this.#children.delete(child);
        resolve(isAnswered);
      };
      child.on("error", () => settle(false));
      child.on("close", (status) => settle(status === 0 && (answered?.test(output) ?? true)));
    });
  }
}
