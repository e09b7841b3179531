#!/usr/bin/env node
/** The `underpass` command: ties the process to cli/dispatch.ts, and alone decides how the process ends. */
import { closeSync, openSync } from "node:fs";
import process from "node:process";
import { main } from "./dispatch.ts";
import type { CliIo, OutputStream, ShutdownSignal } from "./io.ts";

/** What may still hold the process back once its command is done, e.g. a reader of stderr that stopped reading. */
const EXIT_GRACE_MS = 1000;

/** Whoever read this stream may be gone: no reason to end with a stack trace. */
function guarded(stream: OutputStream): OutputStream {
  if (stream.listenerCount("error") === 0) stream.on("error", () => {});
  return stream;
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}

const io: CliIo = {
  env: process.env,
  // Opened when first used: each costs a millisecond or two.
  get stdin() {
    return process.stdin;
  },
  get stdout() {
    return process.stdout;
  },
  get stderr() {
    return guarded(process.stderr);
  },
  onSignal(listener) {
    const signals: readonly ShutdownSignal[] = ["SIGINT", "SIGTERM"];
    for (const signal of signals) process.on(signal, listener);
    return () => {
      for (const signal of signals) process.off(signal, listener);
    };
  },
  onHangup(listener) {
    // Windows has it for a console that is closed, ends the process all the same, and lets nobody send it.
    if (process.platform === "win32") return () => {};
    const hadTerminal = hasTerminal();
    const onSignal = () => listener(hadTerminal && !hasTerminal());
    process.on("SIGHUP", onSignal);
    return () => process.off("SIGHUP", onSignal);
  },
  kill: () => process.exit(1),
};

// Not awaited at the top level: a bundle may not import the module that it is in the middle of.
void main(process.argv.slice(2), io).then((status) => {
  process.exitCode = status;
  // Without anything left to do the process ends by itself, before this.
  setTimeout(() => process.exit(status), EXIT_GRACE_MS).unref();
});
