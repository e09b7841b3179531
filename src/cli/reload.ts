/** Reads the configuration file again when it changes, or on SIGHUP, and gives the tunnel its rules. */
import { changesForRestart, ingressChanges } from "../config/changes.ts";
import { expandHome, fileDigest, isFile } from "../config/files.ts";
import { ConfigError, formatProblem } from "../config/problem.ts";
import { type FileWatch, watchFile, type WatchTiming } from "../config/watch.ts";
import type { LocalTunnel } from "../connector/api.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { Ingress, Logger } from "../types.ts";
import type { CliIo } from "./io.ts";
import { type Loaded, loadPlan, type LoadRequest } from "./load.ts";

export interface ReloadOptions {
  /** What the command line asked for. */
  readonly request: LoadRequest;
  /** What was started. */
  readonly loaded: Loaded;
  readonly tunnel: Pick<LocalTunnel, "updateIngress" | "reloadFailed">;
  readonly logger: Logger;
  readonly io: CliIo;
  readonly scrubber: Scrubber;
  readonly timing?: Partial<WatchTiming>;
}

/** How long a signal waits for others. */
const SIGNAL_SETTLE_MS = 100;

type Reason = "change" | "signal";

/** Undefined where no file was read, or none that can be read again: a pipe, as `--config <(…)` makes one. */
export function createReloader(options: ReloadOptions): Reloader | undefined {
  const { io, loaded, logger } = options;
  const { file } = loaded.settings;
  if (file === undefined) return undefined;
  if (isFile(expandHome(file.path, io.env))) return new Reloader(options, file.path, file.digest);
  logger.info(`${file.path} is no regular file: it is not read again`);
  return undefined;
}

export class Reloader {
  readonly #options: ReloadOptions;
  /** As it was given. */
  readonly #path: string;
  readonly #watch: FileWatch;
  /** Of the text that was last read, right or wrong. */
  #digest: string | undefined;
  #ingress: Ingress;
  #warnings: ReadonlySet<string>;
  /** One after another. */
  #work: Promise<void> = Promise.resolve();
  /** Waits for its turn, and will see what is asked for meanwhile. */
  #waiting: Promise<void> | undefined;
  #waitingFor: Reason = "change";
  #closed = false;

  constructor(options: ReloadOptions, path: string, digest: string | undefined) {
    const { io, loaded, timing } = options;
    this.#options = options;
    this.#path = path;
    this.#digest = digest;
    this.#ingress = loaded.plan.config.ingress;
    this.#warnings = new Set(loaded.plan.warnings);
    this.#watch = watchFile(expandHome(path, io.env), () => this.reload("change"), timing);
  }

  close(): void {
    this.#closed = true;
    this.#watch.close();
  }

  /** A signal has files read anew that the configuration names, too. Resolves when it is done; never rejects. */
  reload(reason: Reason): Promise<void> {
    if (this.#waiting === undefined) {
      this.#waitingFor = reason;
      this.#waiting = this.#work.then(() => this.#next());
      this.#work = this.#waiting;
    } else if (reason === "signal") {
      this.#waitingFor = reason;
    }
    return this.#waiting;
  }

  async #next(): Promise<void> {
    // Signals that come in a burst are one.
    await new Promise((resolve) => setTimeout(resolve, this.#waitingFor === "signal" ? SIGNAL_SETTLE_MS : 0).unref());
    this.#waiting = undefined;
    try {
      if (!this.#closed) await this.#reload(this.#waitingFor);
    } catch (error) {
      this.#failed(error);
    }
  }

  async #reload(reason: Reason): Promise<void> {
    const { io, logger, request, scrubber } = this.#options;
    const digest = fileDigest(expandHome(this.#path, io.env), this.#path);
    if (reason === "change" && digest === this.#digest) return;
    this.#digest = digest;
    const loaded = await loadPlan({ ...request, configPath: this.#path }, io, scrubber);
    if (this.#closed) return;
    this.#expectRoutes(loaded);
    this.#warn(loaded);
    const changes = ingressChanges(this.#ingress, loaded.plan.config.ingress);
    if (changes.length > 0) this.#apply(loaded.plan.config.ingress, changes);
    else logger.info(`Configuration read again: the rules of ${this.#path} are the same`);
  }

  /** A file that is only half written, or whose key has a slip, would answer everything with 503. */
  #expectRoutes({ plan }: Loaded): void {
    if (plan.routes.from !== "nothing" || this.#options.loaded.plan.routes.from === "nothing") return;
    const text =
      "found no rules, where there were some; ingress with at least one rule would be right, such as service: http_status:503";
    throw new ConfigError([{ where: this.#path, text }]);
  }

  #warn({ plan, settings }: Loaded): void {
    const { loaded, logger } = this.#options;
    for (const warning of plan.warnings) if (!this.#warnings.has(warning)) logger.warn(warning);
    this.#warnings = new Set(plan.warnings);
    const restart = changesForRestart(loaded.settings, settings);
    if (restart.length > 0) {
      logger.warn(`Changes that count only after a restart: ${restart.join(", ")}`);
    }
  }

  #apply(ingress: Ingress, changes: readonly string[]): void {
    const { logger, tunnel } = this.#options;
    const update = tunnel.updateIngress(ingress);
    switch (update.result) {
      case "applied":
        this.#ingress = ingress;
        logger.info(`Configuration reloaded: ${changes.join(", ")}`, {
          file: this.#path,
          rules: ingress.rules.length,
        });
        return;
      case "refused":
        logger.warn(`The rules of ${this.#path} have changed, but are not used: ${update.reason}`);
        return;
      case "failed":
        logger.error(`The rules of ${this.#path} can't be used, so those before go on: ${update.reason}`);
        return;
      default:
        update satisfies never;
    }
  }

  #failed(error: unknown): void {
    const { logger, tunnel } = this.#options;
    tunnel.reloadFailed();
    const problems = error instanceof ConfigError ? error.problems.map(formatProblem) : [messageOf(error)];
    for (const problem of problems) logger.error(problem);
    logger.error(`${this.#path} can't be used, so the configuration before goes on`, { problems: problems.length });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
