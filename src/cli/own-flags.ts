/** Command lines of commands that start no tunnel, and have flags of their own. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { ConfigError } from "../config/problem.ts";
import { nearest } from "../proxy/ingress/nearest.ts";

type Flags = NonNullable<ParseArgsConfig["options"]>;

/** By Go's rules: one dash or two. Throws a ConfigError. */
export function parseOwnFlags<T extends Flags>(command: string, args: readonly string[], flags: T) {
  for (const arg of args) {
    const name = /^--?([a-z][a-z-]+)(?:=.*)?$/s.exec(arg)?.[1];
    if (name === undefined || Object.hasOwn(flags, name)) continue;
    const near = nearest(name, Object.keys(flags));
    const hint = near === undefined ? `see underpass ${command} --help` : `did you mean --${near}?`;
    throw new ConfigError([{ where: `--${name}`, text: `unknown flag; ${hint}` }]);
  }
  const long = args.map((arg) => (/^-[a-z][a-z-]/.test(arg) ? `-${arg}` : arg));
  try {
    return parseArgs({ args: long, options: flags, strict: true, allowPositionals: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError([{ where: "", text: `${command}: ${reason}` }]);
  }
}
