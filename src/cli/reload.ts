/** Reads the configuration file again when it changes, or on SIGHUP, and gives the tunnel its rules. */
import { changesForRestart, ingressChanges } from "../config/changes.ts";
import { expandHome, fileDigest } from "../config/files.ts";
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

type Reason = "change" | "signal";

/** Undefined where no file was read. */
export function createReloader(options: ReloadOptions): Reloader | undefined {
  const { file } = options.loaded.settings;
  return file === undefined ? undefined : new Reloader(options, file.path, file.digest);
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
    this.#work = this.#work.then(async () => {
      try {
        if (!this.#closed) await this.#reload(reason);
      } catch (error) {
        this.#failed(error);
      }
    });
    return this.#work;
  }

  async #reload(reason: Reason): Promise<void> {
    const { io, logger, request, scrubber } = this.#options;
    const digest = fileDigest(expandHome(this.#path, io.env), this.#path);
    if (reason === "change" && digest === this.#digest) return;
    this.#digest = digest;
    const loaded = await loadPlan({ ...request, configPath: this.#path }, io, scrubber);
    if (this.#closed) return;
    this.#warn(loaded);
    const changes = ingressChanges(this.#ingress, loaded.plan.config.ingress);
    if (changes.length > 0) this.#apply(loaded.plan.config.ingress, changes);
    else logger.info(`Configuration read again: the rules of ${this.#path} are the same`);
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
