/** The log of a tunnel, from wherever its settings say that it goes: a file, a directory, systemd's journal, a container. */
import { execFile } from "node:child_process";
import { open, readdir, readFile, stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";

/** Of all files together; the newest lines are kept. */
const MAX_LOG_BYTES = 8 * 1024 * 1024;
/** As cloudflared's `tunnel diag` has it. */
const MAX_LINES = "10000";
const TWO_WEEKS = "336h";

export interface LogSource {
  readonly logfile: string | undefined;
  readonly logDirectory: string | undefined;
  /** Of the tunnel's process, where it is known. */
  readonly pid: number | undefined;
  readonly containerId: string | undefined;
  readonly podId: string | undefined;
}

/** Runs a program of this machine and resolves with what it wrote to stdout and stderr. */
export type RunProgram = (program: string, args: readonly string[], signal: AbortSignal) => Promise<string>;

export const runProgram: RunProgram = (program, args, signal) =>
  new Promise((resolve, reject) => {
    execFile(program, args, { signal, maxBuffer: MAX_LOG_BYTES, encoding: "utf8" }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr);
      else reject(new Error(`${program}: ${stderr.trim().split("\n").at(-1) || error.message}`, { cause: error }));
    });
  });

/** Rejects where there is no log, with what would make one. */
export async function collectLogs(source: LogSource, run: RunProgram, signal: AbortSignal): Promise<string> {
  const { containerId, logDirectory, logfile, pid, podId } = source;
  if (podId !== undefined)
    return run("kubectl", ["logs", `--since=${TWO_WEEKS}`, `--tail=${MAX_LINES}`, "--", podId], signal);
  if (containerId !== undefined)
    return run("docker", ["logs", `--since=${TWO_WEEKS}`, `--tail=${MAX_LINES}`, "--", containerId], signal);
  if (logfile !== undefined) return readEnd(fromDirectoryOf(pid, logfile), MAX_LOG_BYTES);
  if (logDirectory !== undefined) return readDirectory(fromDirectoryOf(pid, logDirectory));
  const unit = pid === undefined ? undefined : await unitOf(pid);
  if (unit !== undefined) {
    const scope = unit.isUser ? ["--user"] : [];
    return run("journalctl", [...scope, "-u", unit.name, "--since=-2weeks", "-n", MAX_LINES, "--no-pager"], signal);
  }
  throw new Error(
    "no log is known: --logfile or --log-directory keep one; in a container, --diag-container-id or --diag-pod-id name it",
  );
}

/** Relative paths are the tunnel's, which may have been started elsewhere. */
export function fromDirectoryOf(pid: number | undefined, path: string): string {
  if (isAbsolute(path) || pid === undefined || process.platform !== "linux") return path;
  // Not joined: the kernel follows the link first, and ".." then.
  return `/proc/${pid}/cwd/${path}`;
}

async function readEnd(path: string, limit: number): Promise<string> {
  // Opening a pipe would wait for somebody to write.
  if (!(await stat(path)).isFile()) throw new Error(`${path} is no regular file`);
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const length = Math.min(size, limit);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const text = buffer.toString("utf8", 0, bytesRead);
    // The first line is not whole.
    return length < size ? text.slice(text.indexOf("\n") + 1) : text;
  } finally {
    await file.close();
  }
}

/** The files of a log that rolls over, the oldest first. */
async function readDirectory(directory: string): Promise<string> {
  const names = (await readdir(directory)).filter((name) =>
    /\.log(?:\.|$)|^(?:cloudflared|underpass)[\w.-]*\.log/.test(name),
  );
  const files = await Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      const { isFile, mtimeMs } = await stat(path).then((found) => ({
        isFile: found.isFile(),
        mtimeMs: found.mtimeMs,
      }));
      return { isFile, mtimeMs, path };
    }),
  );
  const newestFirst = files.filter(({ isFile }) => isFile).sort((a, b) => b.mtimeMs - a.mtimeMs);
  if (newestFirst.length === 0) throw new Error(`${directory} holds no log file`);
  const texts: string[] = [];
  let left = MAX_LOG_BYTES;
  for (const { path } of newestFirst) {
    if (left <= 0) break;
    const text = await readEnd(path, left);
    texts.unshift(text);
    left -= Buffer.byteLength(text);
  }
  return texts.join("");
}

interface Unit {
  readonly name: string;
  readonly isUser: boolean;
}

/** The systemd service that a process runs in. */
async function unitOf(pid: number): Promise<Unit | undefined> {
  const groups = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
  return unitOfGroups(groups);
}

/** A user's manager is a service itself, so that the last name counts. */
export function unitOfGroups(groups: string): Unit | undefined {
  const line = groups.split("\n").find((each) => each.includes(".service"));
  const names = line?.match(/[\w@.:\\-]+\.service/g) ?? [];
  const name = names.at(-1);
  if (name === undefined || /^user@\d+\.service$/.test(name)) return undefined;
  return { name, isUser: names.length > 1 && /^user@\d+\.service$/.test(names[0] ?? "") };
}
