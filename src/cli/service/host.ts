/** What `underpass service` touches of the machine; tests hand in their own. */
import { execFile } from "node:child_process";
import { existsSync, realpathSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import process from "node:process";
import type { Environment } from "../../config/interpolate.ts";

export interface ServiceHost {
  readonly platform: NodeJS.Platform;
  /** 0 installs for the whole machine, else for this user. */
  readonly uid: number;
  readonly user: string;
  /** Stands before every path that is looked at or written. */
  readonly root: string;
  /** Absolute paths of Node.js and of the command. */
  readonly node: string;
  readonly script: string;
  hasProgram(name: string): boolean;
  /** Whether every user can read what the path names. */
  isPublic(path: string): boolean;
  /** Whether it lies in somebody's home directory, or leads there. */
  isInHome(path: string): boolean;
  /** Whether it lies in a directory for temporary files, or leads there. */
  isTemporary(path: string): boolean;
  run(program: string, args: readonly string[]): Promise<{ readonly status: number; readonly output: string }>;
}

export function thisHost(env: Environment): ServiceHost {
  const directories = (env["PATH"] || "/usr/bin:/bin").split(delimiter);
  return {
    platform: process.platform,
    uid: process.getuid?.() ?? 0,
    user: nameOfUser(),
    root: "",
    node: lastingPath(process.execPath, directories, "node"),
    // As it was called: a link that stays when the package is updated.
    script: resolve(process.argv[1] ?? ""),
    hasProgram: (name) => directories.some((path) => existsSync(join(path, name))),
    isPublic,
    isInHome: (path) => [path, realOf(path)].some((one) => /^\/(?:home|root)\//.test(one)),
    isTemporary: (path) => [path, realOf(path)].some((one) => /^\/(?:private\/)?(?:var\/)?tmp\//.test(one)),
    run: (program, args) =>
      new Promise((resolve) => {
        execFile(program, args, (error, stdout, stderr) => {
          const output = `${stdout}${stderr}`.trim() || (error?.message ?? "");
          resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : 1, output });
        });
      }),
  };
}

function nameOfUser(): string {
  try {
    return userInfo().username;
  } catch {
    return "";
  }
}

/** The path in PATH that leads to the program: its own often names a version, and is gone after an update. */
export function lastingPath(program: string, directories: readonly string[], name: string): string {
  const real = realOf(program);
  return directories.map((path) => resolve(path, name)).find((path) => realOf(path) === real) ?? real;
}

function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

export function isPublic(path: string): boolean {
  return [path, realOf(path)].every((one) => isReachable(one));
}

function isReachable(path: string): boolean {
  try {
    if ((statSync(path).mode & 0o004) === 0) return false;
    for (let directory = dirname(path); ; directory = dirname(directory)) {
      if ((statSync(directory).mode & 0o001) === 0) return false;
      if (directory === dirname(directory)) return true;
    }
  } catch {
    return false;
  }
}
