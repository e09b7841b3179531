#!/usr/bin/env node
/** The `underpass` command: ties the process to cli/dispatch.ts, and alone decides how the process ends. */
import process from "node:process";
import { main } from "./dispatch.ts";
import type { CliIo, ShutdownSignal } from "./io.ts";

/** What may still hold the process back once its command is done, e.g. a reader of stderr that stopped reading. */
const EXIT_GRACE_MS = 1000;

const io: CliIo = {
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  onSignal(listener) {
    const signals: readonly ShutdownSignal[] = ["SIGINT", "SIGTERM"];
    for (const signal of signals) process.on(signal, listener);
    return () => {
      for (const signal of signals) process.off(signal, listener);
    };
  },
  kill: () => process.exit(1),
};

const status = await main(process.argv.slice(2), io);
process.exitCode = status;
// Without anything left to do the process ends by itself, before this.
setTimeout(() => process.exit(status), EXIT_GRACE_MS).unref();
