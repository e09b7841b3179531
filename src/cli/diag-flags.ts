/** The flags that `diag` alone has, in cloudflared and here: they are taken out before the rest is read as every command's. */
import type { DiagPart } from "../health/diagnostics/archive.ts";
import { type ConfigProblem, wrongValue } from "../config/problem.ts";

export interface DiagFlags {
  /** The command line without them. */
  readonly rest: readonly string[];
  readonly containerId: string | undefined;
  readonly podId: string | undefined;
  readonly without: ReadonlySet<DiagPart>;
  readonly problems: readonly ConfigProblem[];
}

const PARTS: readonly DiagPart[] = ["logs", "metrics", "system", "runtime", "network"];
const NAMES = { "diag-container-id": "containerId", "diag-pod-id": "podId" } as const;

export function takeDiagFlags(args: readonly string[]): DiagFlags {
  const rest: string[] = [];
  const problems: ConfigProblem[] = [];
  const without = new Set<DiagPart>();
  const ids: { containerId?: string; podId?: string } = {};
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? "";
    const [, name = "", attached] = /^--?([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    const part = PARTS.find((each) => name === `no-diag-${each}`);
    if (part !== undefined) {
      if (attached === undefined || attached === "true") without.add(part);
      else if (attached !== "false") problems.push(wrongValue(`--${name}`, attached, "true or false"));
    } else if (name === "diag-container-id" || name === "diag-pod-id") {
      const value = attached ?? args[++index];
      // A name that begins with a dash would be an option of docker or kubectl.
      if (value === undefined || !/^[\w][\w./-]*$/.test(value)) {
        problems.push(wrongValue(`--${name}`, value, "the name or id of one"));
      } else ids[NAMES[name]] = value;
    } else rest.push(arg);
  }
  return { rest, containerId: ids.containerId, podId: ids.podId, without, problems };
}
