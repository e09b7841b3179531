/** Reads the files that a configuration names, with a bound on each; and finds cloudflared's default ones. */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, readSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { isatty } from "node:tty";
import type { ConfigFile } from "./config-file.ts";
import { decode, reasonOf, sizeOf } from "./file-text.ts";
import type { Environment } from "./interpolate.ts";
import { awaitPipe, nameOf, openWithoutWaiting, pipeText, type Waiting } from "./pipe.ts";
import { ConfigError } from "./problem.ts";

/** No configuration, credentials or PEM bundle is that long; a device or a mistaken path may be endless. */
const MAX_FILE_BYTES = 4 << 20;

const USER_DIRECTORIES = ["~/.cloudflared", "~/.cloudflare-warp", "~/cloudflare-warp"];
const SYSTEM_DIRECTORIES = ["/etc/cloudflared", "/usr/local/etc/cloudflared"];
const CONFIG_NAMES = ["config.yml", "config.yaml"];

/** Text of a file, or of a pipe that `awaitTextFile` has read. Throws a ConfigError that names the file and the reason. */
export function readTextFile(path: string, where: string): string {
  return read(path, where, () => {
    // One that can be read again may have changed since.
    const waitedFor = isFile(path) ? undefined : pipeText(path);
    return waitedFor ?? readOpened(path, MAX_FILE_BYTES).text;
  });
}

/** Reads what `path` names ahead of `readTextFile`, where that is a pipe whose other end may take its time. Never rejects. */
export async function awaitTextFile(path: string, where: string, waiting: Waiting): Promise<void> {
  if (!isFile(path)) await awaitPipe(path, where, MAX_FILE_BYTES, waiting);
}

/** Text of a file without words around its errors; `isRegular` is false for what can be read but once, such as a device. */
export function readOpened(path: string, maxBytes: number): { text: string; isRegular: boolean } {
  const descriptor = openWithoutWaiting(path);
  const status = fstatSync(descriptor);
  const found = isatty(descriptor) ? "a terminal" : status.isFIFO() ? "a pipe" : undefined;
  if (found === undefined) return { text: readBounded(descriptor, maxBytes), isRegular: status.isFile() };
  closeSync(descriptor);
  throw new Error(`it is ${found}, which can't be waited for here; a regular file would be right`);
}

/** What an open descriptor holds. It is closed, unless it is stdin, whose number another file would get. */
export function readDescriptor(descriptor: number, maxBytes: number): string {
  return readBounded(descriptor, maxBytes, descriptor !== 0);
}

/** The same for a file that is read while a tunnel serves: what is no regular file might hold everything up. */
export function readRegularFile(path: string, where: string): string {
  return read(path, where, () => {
    const descriptor = openWithoutWaiting(path);
    if (fstatSync(descriptor).isFile()) return readBounded(descriptor, MAX_FILE_BYTES);
    closeSync(descriptor);
    throw new Error("it is no regular file");
  });
}

function read(path: string, where: string, reader: () => string): string {
  try {
    return reader();
  } catch (error) {
    throw new ConfigError([{ where, text: `can't read ${nameOf(path)}: ${reasonOf(error)}` }]);
  }
}

function readBounded(descriptor: number, maxBytes: number, closes = true): string {
  try {
    const chunks: Buffer[] = [];
    for (let total = 0; ; ) {
      const chunk = Buffer.allocUnsafe(65_536);
      const length = readSync(descriptor, chunk);
      if (length === 0) return decode(Buffer.concat(chunks));
      total += length;
      if (total > maxBytes) throw new Error(`it is longer than ${sizeOf(maxBytes)}`);
      chunks.push(chunk.subarray(0, length));
    }
  } finally {
    if (closes) closeSync(descriptor);
  }
}

/** Of a file's text. Throws a ConfigError that names the file and the reason. */
export function fileDigest(path: string, where: string): string {
  return digestOf(readRegularFile(path, where));
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}

/** Reads a configuration file, one that `awaitTextFile` has waited for. The extension decides: `.toml` is ours, `.yml` and `.yaml` are cloudflared's. */
export async function loadConfigFile(path: string, env: Environment, where: string): Promise<ConfigFile> {
  const text = readTextFile(expandHome(path, env), where);
  // A parser is only loaded for its own files: each costs some 10 to 20 ms of start-up.
  if (/\.toml$/i.test(path) || (!/\.ya?ml$/i.test(path) && /^\s*\[tunnel/m.test(text))) {
    const { parseTomlConfig } = await import("./toml.ts");
    return { ...parseTomlConfig(text, path, env), digest: digestOf(text) };
  }
  const { parseYamlConfig } = await import("./yaml.ts");
  return { ...parseYamlConfig(text, path, env), digest: digestOf(text) };
}

/** cloudflared's directories for config.yml and credentials, in its order (ingress § 1.1). Those in HOME only when there is one. */
function defaultDirectories(env: Environment): readonly string[] {
  const user = homeOf(env) === undefined ? [] : USER_DIRECTORIES.map((directory) => expandHome(directory, env));
  return process.platform === "win32" ? user : [...user, ...SYSTEM_DIRECTORIES];
}

/** The first default configuration file that exists. */
export function findDefaultConfig(env: Environment): string | undefined {
  return defaultDirectories(env)
    .flatMap((directory) => CONFIG_NAMES.map((name) => join(directory, name)))
    .find(isFile);
}

/** `<tunnel id>.json` beside cert.pem, or in a default directory (wire § 1.3). */
export function findCredentials(
  tunnelId: string,
  originCert: string | undefined,
  env: Environment,
): string | undefined {
  const beside = originCert === undefined ? [] : [dirname(expandHome(originCert, env))];
  return [...beside, ...defaultDirectories(env)].map((directory) => join(directory, `${tunnelId}.json`)).find(isFile);
}

/** `~` and `~/…` stand for the home directory, where there is one. */
export function expandHome(path: string, env: Environment): string {
  const home = path === "~" || path.startsWith("~/") ? homeOf(env) : undefined;
  return home === undefined ? path : join(home, path.slice(1));
}

function homeOf(env: Environment): string | undefined {
  if (env["HOME"] !== undefined && env["HOME"] !== "") return env["HOME"];
  try {
    return homedir() || undefined;
  } catch {
    // A user id without an entry in the password file, as containers have it.
    return undefined;
  }
}

/** Whether it is there, and can be read again. */
export function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** cert.pem of `cloudflared login`, in the first default directory that has one. */
export function findOriginCert(env: Environment): string | undefined {
  return defaultDirectories(env)
    .map((directory) => join(directory, "cert.pem"))
    .find(isFile);
}
