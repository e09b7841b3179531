/** `--pidfile`: the process id in a file, for whoever sends signals. */
import { readFile, unlink, writeFile } from "node:fs/promises";
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
  let written: Promise<boolean> | undefined;
  tunnel.once("registered", () => {
    written = writeFile(path, String(pid)).then(
      () => true,
      (error: unknown) => {
        logger.error("Unable to write pid", { error, expandedPath: path });
        return false;
      },
    );
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
