/**
 * How the ping of each system is called: for one echo request of so many bytes to a literal address, which it must not look up.
 * Only its exit status counts, except on Windows, where it is 0 also when a router answers that the destination is unreachable.
 */
import { join } from "node:path";
import { PING_WAIT_MS } from "./limits.ts";

export interface PingCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** What it prints when there was an answer; undefined = its exit status says so. */
  readonly answered: RegExp | undefined;
}

/** In the order in which they are to be tried; `address` is an IP. */
export function pingCommands(
  platform: NodeJS.Platform,
  family: 4 | 6,
  address: string,
  dataBytes: number,
  systemRoot = "C:\\Windows",
): readonly PingCommand[] {
  if (platform === "win32") {
    // By its path: a bare name would be looked for in the current folder first.
    const file = join(systemRoot, "System32", "PING.EXE");
    const args = ["-n", "1", "-w", String(PING_WAIT_MS), "-l", String(dataBytes), address];
    return [{ file, args, answered: /[=<] ?\d+ ?ms/i }];
  }
  const one = ["-n", "-q", "-c", "1", "-s", String(dataBytes)];
  const files = family === 4 ? ["ping"] : ping6Of(platform);
  return files.map((file) => ({ file, args: [...one, ...waitOf(platform, file), address], answered: undefined }));
}

/** iputils and busybox take both families; the BSDs have a command of its own, and so have old Linux systems. */
function ping6Of(platform: NodeJS.Platform): readonly string[] {
  return platform === "linux" || platform === "android" ? ["ping", "ping6"] : ["ping6"];
}

/** Seconds on Linux, milliseconds on macOS and FreeBSD; where it is neither, the process is killed in time. */
function waitOf(platform: NodeJS.Platform, file: string): readonly string[] {
  if (platform === "linux" || platform === "android") return ["-W", String(PING_WAIT_MS / 1000)];
  return (platform === "darwin" || platform === "freebsd") && file === "ping" ? ["-W", String(PING_WAIT_MS)] : [];
}
