/** Where log lines go. No sink ever throws, blocks the event loop on a pipe, or holds more than a bounded backlog. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { OutputStream } from "./io.ts";

export interface LogSink {
  write(line: string): void;
  /** Resolves when what was written is out, or can't be got out in time. */
  end(): Promise<void>;
}

/** What a reader that stopped reading may cost. */
const MAX_BACKLOG_BYTES = 1 << 20;
/** How long the end of the process waits for such a reader. */
const FLUSH_MS = 1000;

/** Writes to stderr; when its reader falls behind, lines are dropped and counted. */
export class StreamSink implements LogSink {
  readonly #stream: OutputStream;
  readonly #dropNotice: (count: number) => string;
  #dropped = 0;
  #broken = false;

  constructor(stream: OutputStream, dropNotice: (count: number) => string) {
    this.#stream = stream;
    this.#dropNotice = dropNotice;
    // EPIPE and its like: whoever read the log is gone, and the tunnel goes on without a log.
    stream.on("error", () => {
      this.#broken = true;
    });
  }

  write(line: string): void {
    if (this.#broken || this.#stream.destroyed) return;
    if (this.#stream.writableLength > MAX_BACKLOG_BYTES) {
      this.#dropped++;
      return;
    }
    if (this.#dropped > 0) {
      this.#stream.write(this.#dropNotice(this.#dropped));
      this.#dropped = 0;
    }
    this.#stream.write(line);
  }

  async end(): Promise<void> {
    if (this.#broken || this.#stream.destroyed || this.#stream.writableLength === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, FLUSH_MS);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#stream.once("drain", done);
      this.#stream.once("error", done);
      this.#stream.write("", done);
    });
  }
}

/** Appends to one file, as cloudflared's `--logfile`: mode 0644, parents 0744. */
export class FileSink implements LogSink {
  #descriptor: number | undefined;

  /** Throws when the file can't be opened. */
  constructor(path: string) {
    this.#descriptor = openForAppend(path);
  }

  write(line: string): void {
    if (this.#descriptor === undefined) return;
    try {
      writeSync(this.#descriptor, line);
    } catch {
      // A full disk must not end the tunnel; the next line is tried again.
    }
  }

  end(): Promise<void> {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    return Promise.resolve();
  }
}

const ROLL_BYTES = 1_000_000;
const KEPT_BACKUPS = 5;
const ROLLING_NAME = "cloudflared.log";
const BACKUP_NAME = /^cloudflared-\d{4}-\d{2}-\d{2}T[\d-]+\.\d{3}\.log$/;

/** `cloudflared.log` in a directory, rolled at 1 MB with five backups (operations § 5). */
export class RollingSink implements LogSink {
  readonly #directory: string;
  #file: FileSink;
  #size: number;

  /** Throws when the file can't be opened. */
  constructor(directory: string) {
    this.#directory = directory;
    this.#file = new FileSink(join(directory, ROLLING_NAME));
    this.#size = statSync(join(directory, ROLLING_NAME)).size;
  }

  write(line: string): void {
    const length = Buffer.byteLength(line);
    if (this.#size > 0 && this.#size + length > ROLL_BYTES) this.#roll();
    this.#file.write(line);
    this.#size += length;
  }

  end(): Promise<void> {
    return this.#file.end();
  }

  #roll(): void {
    const path = join(this.#directory, ROLLING_NAME);
    const stamp = new Date().toISOString().replaceAll(":", "-").replace("Z", "");
    try {
      renameSync(path, join(this.#directory, `cloudflared-${stamp}.log`));
      void this.#file.end();
      this.#file = new FileSink(path);
      const backups = readdirSync(this.#directory).filter((name) => BACKUP_NAME.test(name));
      for (const old of backups.sort().slice(0, -KEPT_BACKUPS)) unlinkSync(join(this.#directory, old));
    } catch {
      // Goes on in the file that it has; tried again after as many bytes.
    }
    this.#size = 0;
  }
}

function openForAppend(path: string): number {
  makeDirectory(dirname(path));
  return openSync(path, "a", 0o644);
}

/** Node's own recursive mkdir never returns where a parent can't be made, e.g. under /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeDirectory(dirname(path));
  mkdirSync(path, 0o744);
}
