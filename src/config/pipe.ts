/**
 * Reads what can be read but once, and may take its time: a named pipe, an open descriptor, stdin. It is read ahead of those who ask for
 * its text, so that nothing is held up meanwhile; the text stays known, because a configuration may be read again.
 */
import { constants, fstatSync, openSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { addAbortSignal, type Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { isatty } from "node:tty";
import { decode, sizeOf } from "./file-text.ts";
import { isInherited } from "./inherited.ts";
import { Secret } from "./secret.ts";

/** Whoever waits longer wants to know what for. */
const TELL_AFTER_MS = 1_000;
/** How often a named pipe without a writer is looked at, where that has to be done. */
const REOPEN_MS = 100;

export interface Waiting {
  /** Opened when it is asked for. */
  readonly stdin: () => Readable;
  /** Is told what is waited for, where that takes longer. */
  readonly tell: (text: string) => void;
  /** Ends the wait. */
  readonly signal: AbortSignal | undefined;
}

/** By path, `/dev/fd/3` for every spelling of a descriptor. An error where there was no text. */
const arrived = new Map<string, Secret<string> | Error>();

/** What `awaitPipe` has read; undefined where it found nothing to wait for. Throws where it failed. */
export function pipeText(path: string): string | undefined {
  const found = arrived.get(keyOf(path));
  if (found instanceof Error) throw found;
  return found?.reveal();
}

export function keepText(path: string, text: string): string {
  arrived.set(keyOf(path), new Secret(text));
  return text;
}

/** Never rejects. Returns at once for what can be read without waiting; `where` names what wants the text. */
export async function awaitPipe(path: string, where: string, maxBytes: number, waiting: Waiting): Promise<void> {
  if (arrived.has(keyOf(path))) return;
  const telling = setTimeout(() => {
    waiting.tell(
      `${where}: waiting for a writer of ${nameOf(path)}: it is a pipe, which is read once it has been written and closed`,
    );
  }, TELL_AFTER_MS);
  try {
    const text = await readToEnd(path, maxBytes, waiting);
    if (text !== undefined) keepText(path, text);
  } catch (error) {
    arrived.set(keyOf(path), error instanceof Error ? error : new Error(String(error)));
  } finally {
    clearTimeout(telling);
  }
}

async function readToEnd(path: string, maxBytes: number, waiting: Waiting): Promise<string | undefined> {
  for (;;) {
    const stream = streamOf(path, waiting);
    if (stream === undefined) return undefined;
    const text = await readStream(stream, maxBytes, waiting.signal);
    // Only Linux waits for the first writer of a named pipe; elsewhere the end may mean that there was none yet.
    if (text !== "" || process.platform === "linux" || descriptorOf(path) !== undefined) return text;
    await sleep(REOPEN_MS, undefined, waiting.signal === undefined ? {} : { signal: waiting.signal });
  }
}

/** Undefined where reading it does not wait, or can't be done. */
function streamOf(path: string, { stdin }: Waiting): Readable | undefined {
  const descriptor = descriptorOf(path);
  if (descriptor !== undefined) {
    if (descriptor === 1 || descriptor === 2) throw new Error("output goes there; fd:3 or above would be right");
    if (descriptor !== 0 && !isInherited(descriptor)) throw new Error(notPassed(descriptor));
    if (isatty(descriptor)) throw new Error("it is a terminal; a file or a pipe would be right");
    if (descriptor === 0) return stdin();
    const status = fstatSync(descriptor);
    return status.isFIFO() || status.isSocket() ? new Socket({ fd: descriptor, writable: false }) : undefined;
  }
  try {
    if (!statSync(path).isFIFO()) return undefined;
    return new Socket({ fd: openWithoutWaiting(path), writable: false });
  } catch {
    // Whoever wants the text tries again, and tells.
    return undefined;
  }
}

/** Opening a named pipe that nobody writes to does not end otherwise. */
export function openWithoutWaiting(path: string): number {
  return openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
}

async function readStream(stream: Readable, maxBytes: number, signal: AbortSignal | undefined): Promise<string> {
  if (signal !== undefined) addAbortSignal(signal, stream);
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as string | Buffer);
    total += bytes.length;
    if (total > maxBytes) throw new Error(`it is longer than ${sizeOf(maxBytes)}`);
    chunks.push(bytes);
  }
  return decode(Buffer.concat(chunks));
}

function notPassed(descriptor: number): string {
  return `nothing was passed as descriptor ${descriptor}; in a shell ${descriptor}< FILE, or ${descriptor}< <(COMMAND), at the end of the command line does that`;
}

/** The number of an open descriptor that a path stands for. */
export function descriptorOf(path: string): number | undefined {
  if (path === "/dev/stdin") return 0;
  const digits = /^\/(?:dev|proc\/self)\/fd\/(\d{1,9})$/.exec(path)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function keyOf(path: string): string {
  const descriptor = descriptorOf(path);
  return descriptor === undefined ? path : `/dev/fd/${descriptor}`;
}

/** For people. */
export function nameOf(path: string): string {
  const descriptor = descriptorOf(path);
  if (descriptor === undefined) return path;
  return descriptor === 0 ? "stdin" : `descriptor ${descriptor}`;
}
