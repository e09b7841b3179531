import { type IngressProblem, parseIngress } from "../proxy/ingress/parse.ts";
import type { Ingress } from "../types.ts";
import type { IngressSection } from "./config-file.ts";
import { expandHome, readRegularFile } from "./files.ts";
import type { Environment } from "./interpolate.ts";
import { ConfigError, type ConfigProblem, formatProblem } from "./problem.ts";

export interface CheckedIngress {
  readonly ingress: Ingress;
  readonly warnings: readonly string[];
  /** Warnings about keys that nobody reads, which are among `warnings`. */
  readonly unknownKeys: readonly string[];
}

/** Checks a file's rules. Throws a ConfigError that says all that is wrong with them. */
export function checkIngress(
  { source, where, strict }: IngressSection,
  env: Environment,
  textOf: (text: string) => string = String,
): CheckedIngress {
  const { ingress, problems, warnings } = parseIngress(source, { readFile: fileReader(env) });
  const locate = ({ path, text }: IngressProblem): ConfigProblem => ({ where: where(path), text: textOf(text) });
  const unknown = warnings.filter(({ unknownKey }) => unknownKey);
  if (ingress === undefined || (strict && unknown.length > 0)) {
    throw new ConfigError([...problems, ...(strict ? unknown : [])].map(locate));
  }
  const lines = (found: readonly IngressProblem[]) => found.map((problem) => formatProblem(locate(problem)));
  return { ingress, warnings: lines(warnings), unknownKeys: lines(unknown) };
}

function fileReader(env: Environment): (path: string) => string {
  return (path) => readRegularFile(expandHome(path, env), "");
}

/** What is wrong with a file's rules, for a file that is wrong elsewhere too. */
export function ingressProblems(section: IngressSection | undefined, env: Environment): readonly ConfigProblem[] {
  try {
    if (section !== undefined) checkIngress(section, env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}
