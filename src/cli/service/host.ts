/** What `underpass service` touches of the machine; tests hand in their own. */
import { execFile } from "node:child_process";
import { existsSync, realpathSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { delimiter, dirname, join } from "node:path";
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
  run(program: string, args: readonly string[]): Promise<{ readonly status: number; readonly output: string }>;
}

export function thisHost(env: Environment): ServiceHost {
  return {
    platform: process.platform,
    uid: process.getuid?.() ?? 0,
    user: nameOfUser(),
    root: "",
    node: realpathSync(process.execPath),
    script: realpathSync(process.argv[1] ?? ""),
    hasProgram: (name) =>
      (env["PATH"] ?? "/usr/bin:/bin").split(delimiter).some((path) => existsSync(join(path, name))),
    isPublic,
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

export function isPublic(path: string): boolean {
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
