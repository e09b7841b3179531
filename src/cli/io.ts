/** What a command may touch of the process; tests hand in their own. */
import type { Readable, Writable } from "node:stream";
import type { Environment } from "../config/interpolate.ts";

export type OutputStream = Writable & { readonly isTTY?: boolean };
export type ShutdownSignal = "SIGINT" | "SIGTERM";

export interface CliIo {
  readonly env: Environment;
  readonly stdin: Readable;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Calls back for each SIGINT and SIGTERM until the returned function is called. */
  onSignal(listener: (signal: ShutdownSignal) => void): () => void;
  /**
   * Calls back for each SIGHUP until the returned function is called. `terminalGone`: the terminal that the process was started
   * from has been closed, so that it is no request of anybody's.
   */
  onHangup(listener: (terminalGone: boolean) => void): () => void;
  /** Ends the process at once: what a user gets who signals a third time. */
  kill(): void;
}
