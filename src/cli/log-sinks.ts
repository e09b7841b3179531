/** Where log lines go. No sink ever throws, blocks the event loop on a pipe, or holds more than a bounded backlog. */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
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

/** What a file tells of itself on the other sinks. */
export interface FileEvents {
  /** It can't be written; told once a minute at most. */
  readonly onTrouble: (error: Error) => void;
  /** A line for the file itself: so many are missing before it. */
  readonly lostNotice: (count: number) => string;
}

/** How often the path is looked at: what rotates logs may have moved the file away. */
const LOOK_MS = 1_000;
/** A file that can be written now and then tells no more often. */
const TROUBLE_MS = 60_000;

/** Appends to one file, as cloudflared's `--logfile`: mode 0644, parents 0744. Follows the path when the file is moved away or deleted. */
export class FileSink implements LogSink {
  readonly #path: string;
  readonly #events: FileEvents;
  #descriptor: number | undefined;
  #identity: string;
  #size: number;
  #lookAt = 0;
  #lost = 0;
  #troubleAt = 0;
  /** The last line is in the file only in part. */
  #isTorn = false;

  /** Throws when the file can't be opened. */
  constructor(path: string, events: FileEvents) {
    this.#path = path;
    this.#events = events;
    this.#descriptor = openForAppend(path);
    const { dev, ino, size } = fstatSync(this.#descriptor);
    this.#identity = `${dev}:${ino}`;
    this.#size = size;
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  write(line: string): void {
    if (this.#descriptor === undefined) return;
    try {
      this.#follow();
      if (this.#lost > 0) this.#append(this.#events.lostNotice(this.#lost));
      this.#lost = 0;
      this.#append(line);
    } catch (error) {
      // A full disk must not end the tunnel; the next line is tried again.
      const now = performance.now();
      if (this.#lost++ > 0 || now < this.#troubleAt) return;
      this.#troubleAt = now + TROUBLE_MS;
      this.#events.onTrouble(error instanceof Error ? error : new Error(String(error)));
    }
  }

  end(): Promise<void> {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    return Promise.resolve();
  }

  /** Opens whatever the path names now. Throws when that can't be done. */
  reopen(): void {
    const descriptor = openForAppend(this.#path);
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = descriptor;
    const { dev, ino, size } = fstatSync(descriptor);
    this.#identity = `${dev}:${ino}`;
    this.#size = size;
    this.#isTorn = false;
  }

  /** Learns what stands at the path now, and goes on there. Throws when that can't be opened. */
  look(): void {
    this.#lookAt = performance.now() + LOOK_MS;
    const found = statSync(this.#path, { throwIfNoEntry: false });
    if (found === undefined || `${found.dev}:${found.ino}` !== this.#identity) this.reopen();
    // Somebody emptied it in place, or writes to it as well.
    else this.#size = found.size;
  }

  #follow(): void {
    if (performance.now() >= this.#lookAt) this.look();
  }

  #append(text: string): void {
    if (this.#descriptor === undefined) return;
    const bytes = Buffer.from(this.#isTorn ? `\n${text}` : text);
    for (let at = 0; at < bytes.length; ) {
      const written = writeSync(this.#descriptor, bytes, at);
      at += written;
      this.#size += written;
      this.#isTorn = at < bytes.length;
    }
  }
}

const ROLL_BYTES = 1_000_000;
const KEPT_BACKUPS = 5;
const ROLLING_NAME = "cloudflared.log";
const BACKUP_NAME = /^cloudflared-\d{4}-\d{2}-\d{2}T[\d-]+\.\d{3}\.log$/;

/** `cloudflared.log` in a directory, rolled at 1 MB with five backups (operations § 5). Several processes may share it. */
export class RollingSink implements LogSink {
  readonly #directory: string;
  readonly #file: FileSink;
  /** Size from which on it is rolled; more where that failed. */
  #limit = ROLL_BYTES;

  /** Throws when the file can't be opened. */
  constructor(directory: string, events: FileEvents) {
    this.#directory = directory;
    this.#file = new FileSink(join(directory, ROLLING_NAME), events);
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#isFull(bytes)) this.#roll(bytes);
    this.#file.write(line);
  }

  end(): Promise<void> {
    return this.#file.end();
  }

  #isFull(bytes: number): boolean {
    const { size } = this.#file;
    return size > 0 && size + bytes > this.#limit;
  }

  #roll(bytes: number): void {
    const stamp = new Date().toISOString().replaceAll(":", "-").replace("Z", "");
    try {
      // Another process may have rolled it: what stands at the path now would be moved away all but empty.
      this.#file.look();
      if (!this.#isFull(bytes)) return;
      renameSync(join(this.#directory, ROLLING_NAME), join(this.#directory, `cloudflared-${stamp}.log`));
      this.#file.reopen();
      this.#limit = ROLL_BYTES;
      const backups = readdirSync(this.#directory).filter((name) => BACKUP_NAME.test(name));
      for (const old of backups.sort().slice(0, -KEPT_BACKUPS)) unlinkSync(join(this.#directory, old));
    } catch {
      // Goes on in the file that it has; tried again after as many bytes.
      this.#limit = this.#file.size + ROLL_BYTES;
    }
  }
}

function openForAppend(path: string): number {
  makeDirectory(dirname(path));
  // A pipe that nobody reads is an error, and does not hold the process up.
  const { O_APPEND, O_CREAT, O_WRONLY } = constants;
  return openSync(path, O_WRONLY | O_APPEND | O_CREAT | (constants.O_NONBLOCK ?? 0), 0o644);
}

/** Node's own recursive mkdir never returns where a parent can't be made, e.g. under /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeDirectory(dirname(path));
  mkdirSync(path, 0o744);
}
