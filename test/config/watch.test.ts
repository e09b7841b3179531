/** Every way in which a configuration file becomes another one. */
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FileWatch, watchFile } from "../../src/config/watch.ts";

let directory: string;
const watching: FileWatch[] = [];
let changes: number;
let wake: () => void = () => {};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-watch-"));
  changes = 0;
});
afterEach(() => {
  for (const watch of watching.splice(0)) watch.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Resolves once the first look is over. A long poll: what is seen was told by the system, unless `pollMs` says otherwise. */
async function start(path: string, timing = {}): Promise<void> {
  const onChange = (): void => {
    changes++;
    wake();
  };
  watching.push(watchFile(path, onChange, { settleMs: 20, pollMs: 60_000, unwatchedPollMs: 60_000, ...timing }));
  await changed(changes + 1);
}

/** Resolves when there have been that many changes. */
async function changed(count: number): Promise<void> {
  while (changes < count) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

describe("watchFile", () => {
  it("calls back once for the file as it is, as it may have changed since it was read", async () => {
    await start(write("c.yml", "a"));
    expect(changes).toBe(1);
  });

  it("sees a file that is written in place", async () => {
    const path = write("c.yml", "a");
    await start(path);
    writeFileSync(path, "b");
    await changed(2);
    appendFileSync(path, "c");
    await changed(3);
  });

  it("sees a file that is renamed over it, again and again", async () => {
    const path = write("c.yml", "a");
    await start(path);
    for (let round = 2; round < 5; round++) {
      renameSync(write("c.yml.new", `${round}`), path);
      await changed(round);
    }
  });

  it("sees a file that goes and comes", async () => {
    const path = write("c.yml", "a");
    await start(path);
    rmSync(path);
    await changed(2);
    write("c.yml", "b");
    await changed(3);
  });

  it("sees Kubernetes' swap of ..data", async () => {
    for (const name of ["..1", "..2"]) {
      mkdirSync(join(directory, name));
      write(`${name}/c.yml`, name);
    }
    const data = join(directory, "..data");
    symlinkSync("..1", data);
    const path = join(directory, "c.yml");
    symlinkSync("..data/c.yml", path);
    await start(path);
    symlinkSync("..2", `${data}_tmp`);
    renameSync(`${data}_tmp`, data);
    rmSync(join(directory, "..1"), { recursive: true });
    await changed(2);
    // And writes to where it leads from now on.
    write("..2/c.yml", "new");
    await changed(3);
  });

  it("sees writes behind a link to another directory", async () => {
    mkdirSync(join(directory, "real"));
    const target = write("real/c.yml", "a");
    const path = join(directory, "c.yml");
    symlinkSync(target, path);
    await start(path);
    writeFileSync(target, "b");
    await changed(2);
  });

  it("tells of many writes in a row once, when they are over", async () => {
    const path = write("c.yml", "a");
    await start(path, { settleMs: 100 });
    for (let round = 0; round < 20; round++) writeFileSync(path, `${round}`);
    await changed(2);
    await start(write("other.yml", "a"));
    expect(changes).toBe(3);
  });

  it("sees a change in a directory where something else happens all the time", async () => {
    const path = write("c.yml", "a");
    await start(path);
    const busy = setInterval(() => write("noise", String(performance.now())), 2);
    try {
      writeFileSync(path, "b");
      await changed(2);
    } finally {
      clearInterval(busy);
    }
  });

  it("looks now and then where no directory can be watched, also for one that is not there yet", async () => {
    const folder = join(directory, "later");
    await start(join(folder, "c.yml"), { unwatchedPollMs: 20 });
    mkdirSync(folder);
    write("later/c.yml", "a");
    await changed(2);
    // From then on it is watched, and its directory may be replaced.
    renameSync(folder, join(directory, "gone"));
    mkdirSync(folder);
    write("later/c.yml", "b");
    await changed(3);
  });

  it("tells nothing after it was closed", async () => {
    const path = write("c.yml", "a");
    await start(path);
    for (const watch of watching) watch.close();
    writeFileSync(path, "b");
    await start(write("other.yml", "a"));
    expect(changes).toBe(2);
  });
});
