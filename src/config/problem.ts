import { UnderpassError } from "../errors.ts";
import { describeValue } from "../proxy/ingress/redact.ts";

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  /** Where it stands: `underpass.toml:7: tunnel.cloudflare.protocol`, `--retries`, `TUNNEL_RETRIES`. */
  readonly where: string;
  /** What is wrong and what would be right. */
  readonly text: string;
  /** The environment variable that the value is to come from, where that is missing. */
  readonly variable?: string;
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

/** What `read` returns; undefined when it throws a ConfigError, whose problems join the others. */
export function collect<T>(problems: ConfigProblem[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

/** The usual problem: a value that is not what its key takes. */
export function wrongValue(where: string, found: unknown, expected: string): ConfigProblem {
  return { where, text: `found ${describeValue(found)}; ${expected} would be right` };
}
