/** `--pidfile`: the process id in a file, for whoever sends signals. */
import { constants } from "node:fs";
import { open, readFile, unlink } from "node:fs/promises";
import type { Tunnel } from "../connector/api.ts";
import type { Logger } from "../types.ts";

export interface PidFileOptions {
  readonly path: string;
  readonly pid: number;
  readonly tunnel: Pick<Tunnel, "once">;
  readonly logger: Logger;
}

/**
 * Written after the first registration, over one that a process has left behind: digits without a line end, as cloudflared writes
 * them. The returned function removes it where it is still this process's.
 */
export function keepPidFile({ path, pid, tunnel, logger }: PidFileOptions): () => Promise<void> {
  /** Resolves to whether there is a file to remove. */
  let written: Promise<boolean> | undefined;
  tunnel.once("registered", () => {
    written = write(path, String(pid)).catch((error: unknown) => {
      logger.error("Unable to write pid", { error, expandedPath: path });
      return false;
    });
  });
  return async () => {
    if ((await written) !== true) return;
    try {
      // A successor may have been started meanwhile.
      if ((await readFile(path, "utf8")) === String(pid)) await unlink(path);
    } catch (error) {
      logger.debug("The pidfile can't be removed", { error, expandedPath: path });
    }
  };
}

/** Not held up by a pipe that nobody reads. Resolves to whether it is a file, which stays. */
async function write(path: string, text: string): Promise<boolean> {
  const { O_CREAT, O_TRUNC, O_WRONLY } = constants;
  const file = await open(path, O_WRONLY | O_CREAT | O_TRUNC | (constants.O_NONBLOCK ?? 0), 0o666);
  try {
    await file.write(text);
    return (await file.stat()).isFile();
  } finally {
    await file.close();
  }
}
