/** Reads a secret from where it is kept: a file, stdin, an open descriptor, a credential of systemd, a secret of a container. */
import { realpathSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { reasonOf } from "./file-text.ts";
import { expandHome, readDescriptor, readOpened } from "./files.ts";
import type { Environment } from "./interpolate.ts";
import { awaitPipe, descriptorOf, keepText, nameOf, pipeText, type Waiting } from "./pipe.ts";
import { ConfigError } from "./problem.ts";

/** What is longer is no token and no credentials, but a mistaken path. */
const MAX_SECRET_BYTES = 65_536;

/** Kept from everybody else by what mounts them, whatever their mode says: Docker's, Kubernetes' and systemd's. */
const SECRET_MOUNTS = ["/run/secrets", "/var/run/secrets", "/run/credentials"];

/**
 * The text of the file `name`; `-` is stdin, `fd:3` and `/dev/fd/3` the open descriptor 3. Throws a ConfigError that shows nothing of
 * the text. Adds a warning where every user of the machine can read the file.
 */
export function readSecretFile(name: string, where: string, env: Environment, warnings: string[]): string {
  const path = pathOf(name, env);
  try {
    const waitedFor = pipeText(path);
    if (waitedFor !== undefined) return expectText(waitedFor);
    const descriptor = descriptorOf(path);
    if (descriptor !== undefined) return keepText(path, expectText(readDescriptor(descriptor, MAX_SECRET_BYTES)));
    const { text, isRegular } = readOpened(path, MAX_SECRET_BYTES);
    if (!isRegular) return keepText(path, expectText(text));
    warnings.push(...exposureOf(path, where, env));
    return expectText(text);
  } catch (error) {
    throw new ConfigError([{ where, text: `can't read ${nameOf(path)}: ${reasonOf(error)}` }]);
  }
}

function expectText(text: string): string {
  if (text.trim() === "") throw new Error("it is empty");
  return text;
}

/** Reads what `name` stands for ahead of `readSecretFile`, where the other end of that may take its time. Never rejects. */
export async function awaitSecret(name: string, where: string, env: Environment, waiting: Waiting): Promise<void> {
  await awaitPipe(pathOf(name, env), where, MAX_SECRET_BYTES, waiting);
}

function pathOf(name: string, env: Environment): string {
  if (name === "-") return "/dev/stdin";
  const digits = /^fd:(\d{1,9})$/.exec(name)?.[1];
  return digits === undefined ? expandHome(name, env) : `/dev/fd/${digits}`;
}

/** A warning where every user of this machine can read the file. */
export function exposureOf(path: string, where: string, env: Environment): readonly string[] {
  // Windows has no such modes.
  if (process.platform === "win32") return [];
  let mode: number;
  let real: string;
  try {
    mode = statSync(path).mode & 0o777;
    real = realpathSync(path);
  } catch {
    return [];
  }
  if ((mode & 0o004) === 0 || isSecretMount(resolve(path), env) || isSecretMount(real, env)) return [];
  return [
    `${where}: every user of this machine can read ${path} (mode ${mode.toString(8).padStart(4, "0")}); chmod 600 would be right`,
  ];
}

function isSecretMount(path: string, env: Environment): boolean {
  const credentials = env["CREDENTIALS_DIRECTORY"];
  const mounts = credentials === undefined || credentials === "" ? SECRET_MOUNTS : [...SECRET_MOUNTS, credentials];
  // Kubernetes mounts a secret anywhere, as links into a directory such as `..2026_11_23_14_10_00.123456789`.
  return mounts.some((mount) => path.startsWith(`${mount}/`)) || /\/\.\.\d{4}_\d\d_\d\d_/.test(path);
}

/** What systemd hands over by these names is found by itself (`LoadCredential=tunnel-token:…`). */
export const CREDENTIALS = [
  { name: "tunnel-token", setting: "token-file", unless: ["token", "token-file"] },
  { name: "tunnel-credentials", setting: "credentials-file", unless: ["credentials-contents", "credentials-file"] },
] as const;

/** The path of a credential of systemd, where there is one, of whatever kind: one that can't be read is told of. */
export function findCredential(name: string, env: Environment): string | undefined {
  const directory = env["CREDENTIALS_DIRECTORY"];
  if (directory === undefined || directory === "") return undefined;
  const path = join(directory, name);
  try {
    statSync(path);
    return path;
  } catch {
    return undefined;
  }
}
