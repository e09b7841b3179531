/**
 * Which rules a tunnel serves: those that it started with, those of a local reload, or those of Cloudflare, which count from
 * the first one on (ingress § 6). All of it is synchronous, so updates come one after another, whichever connection brings them.
 */
import { formatKeyPath } from "../config/key-path.ts";
import { limitFlows } from "../config/limit-flows.ts";
import { type IngressContext, type IngressProblem, parseIngress } from "../proxy/ingress/parse.ts";
import type { Ingress, Logger } from "../types.ts";
import { configurationText } from "./configuration-text.ts";

/** The version before the first one: a tunnel that moves from local to remote configuration gets version 0. */
const NO_VERSION = -1;

/** Of an answer to the edge, and of a log line: the first problems say enough. */
const MAX_PROBLEMS = 10;
const MAX_ERROR_CHARACTERS = 2_000;

export interface UpdateResult {
  readonly lastAppliedVersion: number;
  /** Why it was not applied. */
  readonly error?: string;
}

/** What became of rules that were given to a tunnel that runs. */
export type IngressUpdate =
  | { readonly result: "applied" }
  /** `refused`: rules from Cloudflare are in effect, or the tunnel ends. `failed`: they can't be started. */
  | { readonly result: "refused" | "failed"; readonly reason: string };

export interface OrchestratorOptions {
  readonly ingress: Ingress;
  /** Handlers that rules may name, and the files of this machine that `caPool` names. */
  readonly context: IngressContext;
  /** Counts before what any configuration says. */
  readonly maxActiveFlows: number | undefined;
  /** From now on requests go by these rules. Throws, and changes nothing, when one can't be started. */
  readonly apply: (ingress: Ingress) => void;
  /** Rules are in effect. Must not throw. */
  readonly onApplied: (version: number, source: "local" | "remote") => void;
  readonly logger: Logger;
}

export class Orchestrator {
  readonly #options: OrchestratorOptions;
  #ingress: Ingress;
  #version = NO_VERSION;
  #lastError: string | undefined;
  #ended = false;

  constructor(options: OrchestratorOptions) {
    this.#options = options;
    this.#ingress = options.ingress;
  }

  /** The rules in effect. */
  get ingress(): Ingress {
    return this.#ingress;
  }

  /** Of the last configuration from Cloudflare that was applied; -1 = none. */
  get version(): number {
    return this.#version;
  }

  /** Why the newest configuration is not in effect; undefined where it is. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The tunnel ends: what comes now is refused. */
  end(): void {
    this.#ended = true;
  }

  /** A configuration from Cloudflare, as JSON from outside. Never throws. */
  update(version: number, config: unknown): UpdateResult {
    return this.#updateBy(version, () => config);
  }

  /** The same, as its text; only one that is new is looked at. */
  updateText(version: number, config: Uint8Array): UpdateResult {
    return this.#updateBy(version, () => JSON.parse(Buffer.from(config).toString("utf8")) as unknown);
  }

  /** Rules of this machine, checked. */
  updateLocal(ingress: Ingress): IngressUpdate {
    if (this.#ended) return { result: "refused", reason: "the tunnel is being closed" };
    if (this.#version > NO_VERSION) {
      return {
        result: "refused",
        reason: `the rules come from Cloudflare (version ${this.#version}); those of this machine no longer count`,
      };
    }
    try {
      this.#apply(ingress);
    } catch (error) {
      this.#lastError = messageOf(error);
      return { result: "failed", reason: this.#lastError };
    }
    this.#options.onApplied(this.#version, "local");
    return { result: "applied" };
  }

  #updateBy(version: number, read: () => unknown): UpdateResult {
    const { logger, onApplied } = this.#options;
    if (version <= this.#version) {
      logger.debug("Current version is equal or newer than received version", {
        current_version: this.#version,
        received_version: version,
      });
      return { lastAppliedVersion: this.#version };
    }
    let config: unknown;
    try {
      config = read();
    } catch {
      return this.#refuse(version, "", DESERIALIZE, "the configuration is not JSON");
    }
    if (this.#ended) return this.#refuse(version, config, UPDATE, "the tunnel has already been shut down");
    if (!isTable(config)) {
      return this.#refuse(
        version,
        config,
        DESERIALIZE,
        "the configuration is no object; one with ingress would be right",
      );
    }
    try {
      const { ingress, problems, warnings } = parseIngress(config, this.#options.context);
      if (ingress === undefined) return this.#refuse(version, config, DESERIALIZE, listProblems(problems));
      this.#warn(version, warnings);
      this.#apply(ingress);
    } catch (error) {
      return this.#refuse(version, config, UPDATE, messageOf(error));
    }
    this.#version = version;
    logger.info("Updated to new configuration", { version, config: configurationText(config) });
    onApplied(version, "remote");
    return { lastAppliedVersion: version };
  }

  #apply(ingress: Ingress): void {
    const { apply, maxActiveFlows } = this.#options;
    const limited = limitFlows(ingress, maxActiveFlows);
    apply(limited);
    this.#ingress = limited;
    this.#lastError = undefined;
  }

  #refuse(version: number, config: unknown, message: string, reason: string): UpdateResult {
    const error = reason.length > MAX_ERROR_CHARACTERS ? `${reason.slice(0, MAX_ERROR_CHARACTERS)}…` : reason;
    this.#options.logger.error(message, { version, config: configurationText(config), error });
    this.#lastError = error;
    return { lastAppliedVersion: this.#version, error };
  }

  /** What a dashboard adds that nobody reads is no news; an option that does nothing where it stands is. */
  #warn(version: number, warnings: readonly IngressProblem[]): void {
    const telling = warnings.filter(({ path, unknownKey }) => unknownKey !== true && path[0] !== "warp-routing");
    if (telling.length > 0) {
      this.#options.logger.warn("The new configuration has options without effect", {
        version,
        options: listProblems(telling),
      });
    }
  }
}

const DESERIALIZE = "Failed to deserialize new configuration";
const UPDATE = "Failed to update ingress";

function listProblems(problems: readonly IngressProblem[]): string {
  const shown = problems.slice(0, MAX_PROBLEMS).map(({ path, text }) => `${formatKeyPath(path)}: ${text}`);
  const more = problems.length - shown.length;
  return more > 0 ? `${shown.join("; ")}; and ${more} more` : shown.join("; ");
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
