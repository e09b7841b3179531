import { UnderpassError } from "../errors.ts";
import { looksSecret, REDACTED, redactLikely } from "./redact.ts";

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  /** Where it stands: `underpass.toml:7: tunnel.cloudflare.protocol`, `--retries`, `TUNNEL_RETRIES`. */
  readonly where: string;
  /** What is wrong and what would be right. */
  readonly text: string;
}

/** A configuration that can't be run; the message has one line a problem. */
export class ConfigError extends UnderpassError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super("ERR_UNDERPASS_CONFIG", problems.map(formatProblem).join("\n"));
    this.problems = problems;
  }
}

export function formatProblem(problem: ConfigProblem): string {
  return problem.where === "" ? problem.text : `${problem.where}: ${problem.text}`;
}

/** The usual problem: a value that is not what its key takes. */
export function wrongValue(where: string, found: unknown, expected: string): ConfigProblem {
  return { where, text: `found ${describeValue(found)}; ${expected} would be right` };
}

/** Longer values are described by their length: nobody needs more to find the key, and it may be a secret. */
const LONGEST_QUOTED = 80;

/** A value as an error may show it. */
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "string") {
    if (looksSecret(value)) return REDACTED;
    return value.length > LONGEST_QUOTED ? `a text of ${value.length} characters` : redactLikely(JSON.stringify(value));
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return "a list";
  return value instanceof Date ? "a date" : "a table";
}
