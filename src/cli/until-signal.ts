/** For a command that may take long and has nothing to bring to an end in order. */
import type { CliIo } from "./io.ts";

/** Runs it until it is done, or a signal comes: then its status is 0, whatever broke off in it. */
export async function untilSignal(io: CliIo, command: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const stop = new AbortController();
  const release = io.onSignal(() => stop.abort());
  try {
    return await command(stop.signal);
  } catch (error) {
    if (stop.signal.aborted) return 0;
    throw error;
  } finally {
    release();
  }
}
