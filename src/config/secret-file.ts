/** Reads a secret from where it is kept: a file, stdin, an open descriptor, a credential of systemd, a secret of a container. */
import { fstatSync, realpathSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { isatty } from "node:tty";
import { decode, expandHome, readDescriptor, readOpened } from "./files.ts";
import type { Environment } from "./interpolate.ts";
import { ConfigError } from "./problem.ts";
import { Secret } from "./secret.ts";

/** What is longer is no token and no credentials, but a mistaken path. */
const MAX_SECRET_BYTES = 65_536;

/** Kept from everybody else by what mounts them, whatever their mode says: Docker's, Kubernetes' and systemd's. */
const SECRET_MOUNTS = ["/run/secrets", "/var/run/secrets", "/run/credentials"];

/** A pipe gives its text once, and a configuration may be read again. By name; an error where there was none. */
const consumed = new Map<string, Secret<string> | Error>();

/**
 * The text of the file `name`; `-` is stdin, `fd:3` and `/dev/fd/3` the open descriptor 3. Throws a ConfigError that shows nothing of
 * the text. Adds a warning where every user of the machine can read the file.
 */
export function readSecretFile(name: string, where: string, env: Environment, warnings: string[]): string {
  const descriptor = descriptorOf(name);
  const key = descriptor === undefined ? expandHome(name, env) : `fd:${descriptor}`;
  const before = consumed.get(key);
  if (before instanceof Secret) return before.reveal();
  try {
    if (before !== undefined) throw before;
    if (descriptor !== undefined) return keep(key, expectText(readDescriptor(descriptor, MAX_SECRET_BYTES)));
    const { text, isRegular } = readOpened(key, MAX_SECRET_BYTES);
    if (!isRegular) return keep(key, expectText(text));
    warnings.push(...exposureOf(key, where, env));
    return expectText(text);
  } catch (error) {
    const shown = descriptor === 0 ? "stdin" : descriptor === undefined ? key : `descriptor ${descriptor}`;
    throw new ConfigError([{ where, text: `can't read ${shown}: ${reasonOf(error)}` }]);
  }
}

function keep(key: string, text: string): string {
  consumed.set(key, new Secret(text));
  return text;
}

function expectText(text: string): string {
  if (text.trim() === "") throw new Error("it is empty");
  return text;
}

/**
 * Reads what `name` stands for ahead of `readSecretFile`, where that is a descriptor whose other end may take its time: a signal is heard
 * meanwhile. Never rejects.
 */
export async function awaitSecret(name: string, stdin: () => Readable): Promise<void> {
  const descriptor = descriptorOf(name);
  const key = `fd:${descriptor}`;
  if (descriptor === undefined || consumed.has(key)) return;
  try {
    const stream = streamOf(descriptor, stdin);
    if (stream !== undefined) keep(key, expectText(await readStream(stream)));
  } catch (error) {
    consumed.set(key, error instanceof Error ? error : new Error(String(error)));
  }
}

/** Undefined where reading it does not wait. */
function streamOf(descriptor: number, stdin: () => Readable): Readable | undefined {
  if (descriptor === 0) {
    if (isatty(0)) throw new Error("it is a terminal; a file or a pipe would be right");
    return stdin();
  }
  const status = fstatSync(descriptor);
  return status.isFIFO() || status.isSocket() ? new Socket({ fd: descriptor, writable: false }) : undefined;
}

async function readStream(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as string | Buffer);
    total += bytes.length;
    if (total > MAX_SECRET_BYTES) throw new Error(`it is longer than ${MAX_SECRET_BYTES >> 10} KiB`);
    chunks.push(bytes);
  }
  return decode(Buffer.concat(chunks));
}

/** The number in `fd:3` and its like, 0 for `-`. */
function descriptorOf(name: string): number | undefined {
  if (name === "-" || name === "/dev/stdin") return 0;
  const digits = /^(?:fd:|\/dev\/fd\/|\/proc\/self\/fd\/)(\d{1,9})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
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

/** The path of a credential of systemd, where there is one. */
export function findCredential(name: string, env: Environment): string | undefined {
  const directory = env["CREDENTIALS_DIRECTORY"];
  if (directory === undefined || directory === "") return undefined;
  const path = join(directory, name);
  try {
    return statSync(path).isFile() ? path : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES") return "permission denied";
  if (code === "EISDIR") return "it is a directory";
  if (code === "EBADF") return "it is not open";
  return error instanceof Error ? error.message : String(error);
}
