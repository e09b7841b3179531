/** Whether what a command printed has arrived: a full disk is told of, a reader that goes away is not. */
import { setImmediate } from "node:timers/promises";
import { UnderpassError } from "../errors.ts";
import type { CliIo, OutputStream } from "./io.ts";

export class OutputError extends UnderpassError {
  constructor(cause: Error) {
    super("ERR_UNDERPASS_OUTPUT", `stdout can't be written, so something of it is missing: ${cause.message}`, {
      cause,
    });
  }
}

export interface WatchedIo {
  /** The same, but for a stdout whose errors are heard. */
  readonly io: CliIo;
  /** The first one, of what has been written so far. */
  readonly lost: () => Promise<OutputError | undefined>;
}

export function watchOutput(io: CliIo): WatchedIo {
  let watched: OutputStream | undefined;
  let error: Error | undefined;
  return {
    io: {
      env: io.env,
      // Each is opened when it is first asked for.
      get stdin() {
        return io.stdin;
      },
      get stdout() {
        if (watched !== undefined) return watched;
        const stdout = io.stdout;
        watched = stdout;
        return stdout.on("error", (cause) => {
          if (!isReaderGone(cause, stdout)) error ??= cause;
        });
      },
      get stderr() {
        return io.stderr;
      },
      onSignal: (listener) => io.onSignal(listener),
      onHangup: (listener) => io.onHangup(listener),
      kill: () => io.kill(),
    },
    async lost() {
      // A file is written at once, but its error comes in the turn after.
      if (watched !== undefined) await setImmediate();
      return error === undefined ? undefined : new OutputError(error);
    },
  };
}

/** `underpass tail | head`, and a terminal that is closed. Windows has EOF for a pipe as well. */
function isReaderGone(error: Error, { isTTY = false }: OutputStream): boolean {
  const code = "code" in error ? error.code : undefined;
  return code === "EPIPE" || code === "ECONNRESET" || code === "EOF" || (code === "EIO" && isTTY);
}
