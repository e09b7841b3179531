/**
 * Tells when a file has become another one: written in place, renamed over as editors do, or reached through a symbolic link
 * that was swapped, as Kubernetes' `..data`. Directories are watched, because a watch of the file ends with its inode; and
 * looked at now and then, because network file systems and bind mounts tell nothing.
 */
import { type FSWatcher, watch } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

export interface WatchTiming {
  /** How long a file must stay as it is before it is read. */
  readonly settleMs: number;
  /** Time between two looks where directories are watched. */
  readonly pollMs: number;
  /** Where they can't be. */
  readonly unwatchedPollMs: number;
}

const TIMING: WatchTiming = { settleMs: 200, pollMs: 30_000, unwatchedPollMs: 5_000 };

export interface FileWatch {
  close(): void;
}

/** Calls back after each change, and once after the start: the file may have changed since it was read. Keeps no process alive. */
export function watchFile(path: string, onChange: () => void, timing: Partial<WatchTiming> = {}): FileWatch {
  return new DirectoryWatch(resolve(path), onChange, { ...TIMING, ...timing });
}

class DirectoryWatch implements FileWatch {
  readonly #path: string;
  readonly #onChange: () => void;
  readonly #timing: WatchTiming;
  readonly #watchers = new Map<string, FSWatcher>();
  /** The state that was told of. */
  #told = "";
  /** The state that was seen last, while it settles. */
  #settling = "";
  #timer: NodeJS.Timeout | undefined;
  #dueAt = 0;
  #looking = false;
  /** Something happened while it was looking. */
  #again = false;
  #closed = false;

  constructor(path: string, onChange: () => void, timing: WatchTiming) {
    this.#path = path;
    this.#onChange = onChange;
    this.#timing = timing;
    this.#lookIn(0);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  readonly #changed = (): void => {
    if (this.#looking) this.#again = true;
    else this.#lookIn(this.#timing.settleMs);
  };

  /** An earlier look stays due: a busy directory must not put it off for ever. */
  #lookIn(milliseconds: number): void {
    const dueAt = performance.now() + milliseconds;
    if (this.#closed || (this.#timer !== undefined && this.#dueAt <= dueAt)) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#look();
    }, milliseconds).unref();
  }

  async #look(): Promise<void> {
    this.#looking = true;
    this.#again = false;
    await this.#watchDirectories();
    const state = await stateOf(this.#path);
    this.#looking = false;
    if (this.#closed) return;
    const isNew = state !== this.#told;
    const isSettled = state === this.#settling;
    this.#settling = state;
    if (isNew && isSettled) this.#told = state;
    const { pollMs, settleMs, unwatchedPollMs } = this.#timing;
    if (this.#again || (isNew && !isSettled)) this.#lookIn(settleMs);
    else this.#lookIn(this.#watchers.size > 0 ? pollMs : unwatchedPollMs);
    if (isNew && isSettled) this.#onChange();
  }

  /** The directory of the path, and that of the file that it leads to. */
  async #watchDirectories(): Promise<void> {
    const real = await realpath(this.#path).catch(() => this.#path);
    const wanted = new Map<string, string>();
    for (const directory of [dirname(this.#path), dirname(real)]) {
      wanted.set(`${directory}\0${await inodeOf(directory)}`, directory);
    }
    if (this.#closed) return;
    for (const [key, watcher] of this.#watchers) {
      if (wanted.has(key)) continue;
      watcher.close();
      this.#watchers.delete(key);
    }
    for (const [key, directory] of wanted) if (!this.#watchers.has(key)) this.#watch(key, directory);
  }

  #watch(key: string, directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, this.#changed);
      watcher.on("error", () => {
        watcher.close();
        this.#watchers.delete(key);
        this.#changed();
      });
      this.#watchers.set(key, watcher);
    } catch {
      // No directory, or no watches left on this machine: looking now and then does.
    }
  }
}

/** What changes when the file does; empty where there is none. */
async function stateOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "gone";
  }
}

async function inodeOf(directory: string): Promise<string> {
  try {
    const { dev, ino } = await stat(directory, { bigint: true });
    return `${dev},${ino}`;
  } catch {
    return "";
  }
}
