/** What is read from pipes: waited for without holding anything up. */
import { type ChildProcess, execFileSync, spawn, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { awaitTextFile, readTextFile } from "../../src/config/files.ts";
import type { Waiting } from "../../src/config/pipe.ts";
import { awaitSecret, readSecretFile } from "../../src/config/secret-file.ts";
import { cli, FakeIo } from "../cli/fake-io.ts";
import { cliPath } from "../end-to-end/start.ts";
import { makeCredentials } from "./make-credentials.ts";

const made = makeCredentials();
let directory: string;
const children: ChildProcess[] = [];
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-pipe-"));
});
afterAll(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function makePipe(name: string): string {
  const path = join(directory, name);
  execFileSync("mkfifo", [path]);
  return path;
}

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function waiting(signal?: AbortSignal): Waiting & { readonly told: string[] } {
  const told: string[] = [];
  const stdin = () => {
    throw new Error("nobody asked for stdin");
  };
  return { stdin, tell: (text) => told.push(text), signal, told };
}

/** Until nobody has the pipe open for reading: what is written before that is lost with its reader. */
async function left(path: string): Promise<void> {
  for (;;) {
    try {
      closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
    } catch (error) {
      expect(error).toMatchObject({ code: "ENXIO" });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function shown(io: FakeIo, text: string): Promise<void> {
  while (!io.stderr.text.includes(text)) await once(io.stderr, "said");
}

describe("a named pipe", () => {
  it("is read once: what was in it stays known", async () => {
    const path = makePipe("once");
    const reading = awaitSecret(path, "--token-file", {}, waiting());
    await writeFile(path, made.token);
    await reading;
    expect(readSecretFile(path, "", {}, [])).toBe(made.token);
    await awaitSecret(path, "--token-file", {}, waiting());
    expect(readSecretFile(path, "", {}, [])).toBe(made.token);
  });

  it("that nobody has waited for is an error, and holds nothing up", () => {
    const path = makePipe("unawaited");
    for (const read of [() => readTextFile(path, "--cacert"), () => readSecretFile(path, "--token-file", {}, [])]) {
      expect(read).toThrow(`can't read ${path}: it is a pipe`);
    }
  });

  it.each(["linux", "darwin"])("whose writer writes nothing is empty, or waited for again: %s", async (platform) => {
    const real = process.platform;
    if (real !== "linux" && platform === "linux") return;
    const path = makePipe(`empty-${platform}`);
    Object.defineProperty(process, "platform", { value: platform });
    try {
      const reading = awaitSecret(path, "--token-file", {}, waiting());
      await writeFile(path, "");
      if (platform !== "linux") {
        await left(path);
        await writeFile(path, made.token);
      }
      await reading;
    } finally {
      Object.defineProperty(process, "platform", { value: real });
    }
    const read = () => readSecretFile(path, "--token-file", {}, []);
    if (platform === "linux") expect(read).toThrow(`--token-file: can't read ${path}: it is empty`);
    else expect(read()).toBe(made.token);
  });

  it("holds no more than a file may", async () => {
    const path = makePipe("long");
    const reading = awaitSecret(path, "--token-file", {}, waiting());
    // The reader leaves before the end.
    await writeFile(path, "x".repeat(200_000)).catch(() => {});
    await reading;
    expect(() => readSecretFile(path, "", {}, [])).toThrow("it is longer than 64 KiB");
  });

  it("is left when that is asked for", async () => {
    const path = makePipe("left");
    const stop = new AbortController();
    const reading = awaitTextFile(path, "--cacert", waiting(stop.signal));
    stop.abort();
    await reading;
    expect(() => readTextFile(path, "--cacert")).toThrow("--cacert: can't read");
  });

  it.concurrent.each([
    ["--token-file", made.token, ["run", "--url", "http://localhost:1"]],
    ["--credentials-file", made.json, ["run", made.tunnelId, "--url", "http://localhost:1"]],
    ["--config", `tunnel: ${made.tunnelId}\ningress:\n  - service: http_status:404\n`, ["run", "--token", made.token]],
    ["--error-page", "<p>gone", ["run", "--token", made.token]],
  ])("is waited for, %s", async (flag, text, args) => {
    const path = makePipe(flag.slice(2));
    const io = new FakeIo();
    const running = cli([...args, flag, path], {}, undefined, io);
    await shown(io, "waiting for");
    expect(io.stderr.text).toBe(
      `underpass: ${flag}: waiting for a writer of ${path}: it is a pipe, which is read once it has been written and closed\n`,
    );
    io.stderr.text = "";
    await writeFile(path, text);
    const { status, tunnel } = await running;
    expect([status, tunnel?.config.identity.mode]).toEqual([0, "named"]);
  });

  it.concurrent.each(["--token-file", "--config", "--cacert"])(
    "without a writer is left on a signal, %s",
    async (flag) => {
      const path = makePipe(`silent${flag}`);
      const io = new FakeIo();
      const running = cli(["run", flag, path], {}, undefined, io);
      await shown(io, "waiting for");
      io.signal("SIGTERM");
      expect(await running).toMatchObject({ status: 0, tunnel: undefined });
    },
  );
});

describe("the command", () => {
  function start(args: readonly string[], stdio: StdioOptions = ["ignore", "pipe", "pipe"]): ChildProcess {
    const child = spawn(process.execPath, [cliPath, ...args], {
      env: { HOME: "/nonexistent", PATH: process.env["PATH"], TUNNEL_URL: "http://localhost:1" },
      stdio,
    });
    children.push(child);
    return child;
  }

  async function textOf(child: ChildProcess): Promise<string> {
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(child, "close");
    return text;
  }

  it.concurrent.each(["SIGTERM", "SIGINT"] as const)("ends on %s while it waits for a pipe", async (signal) => {
    const child = start(["run", "--token-file", makePipe(`process-${signal}`)]);
    const [said] = (await once(child.stderr ?? child, "data")) as [Buffer];
    expect(said.toString()).toContain("waiting for a writer of ");
    child.kill(signal);
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  it.each(["config check", "run"])("%s reads what the shell's <(…) gives, in its time", async (command) => {
    const token = write("shell-token", made.token);
    const line = `'${process.execPath}' '${cliPath}' ${command} --token-file <(sleep 0.2; cat '${token}') --error-page <(sleep 0.1; echo '<p>')`;
    const child = spawn("bash", ["-c", command === "run" ? `${line} --edge nowhere --retries 0` : line], {
      env: { HOME: "/nonexistent", PATH: process.env["PATH"], TUNNEL_URL: "http://localhost:1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.push(child);
    const text = await textOf(child);
    // It is told of the edge alone.
    if (command === "run") expect(text).toMatch(/^underpass: --edge: found "nowhere"[^\n]*\n$/);
    else expect(text).toContain(made.tunnelId);
  });

  it.each(["fd:3", "/dev/fd/3", "/proc/self/fd/3"])("reads a slow pipe at %s", async (name) => {
    const path = makePipe(name.replaceAll("/", "-"));
    // Opened for both, so that it waits for nobody.
    const descriptor = openSync(path, "r+");
    const child = start(["config", "check", "--token-file", name], ["ignore", "pipe", "pipe", openSync(path, "r")]);
    const text = textOf(child);
    await new Promise((resolve) => setTimeout(resolve, 100));
    writeFileSync(descriptor, made.token);
    closeSync(descriptor);
    expect(await text).toContain(made.tunnelId);
  });

  it.skipIf(process.platform !== "linux")("takes no descriptor of Node.js's own for one that was passed", async () => {
    const texts = await Promise.all(
      [3, 4, 5, 7, 8, 9, 12, 16, 19, 23].map(async (descriptor) => {
        const child = start(["config", "check", "--token-file", `fd:${descriptor}`]);
        return [descriptor, await textOf(child), child.exitCode] as const;
      }),
    );
    for (const [descriptor, text, status] of texts) {
      expect(text).toContain(
        `can't read descriptor ${descriptor}: nothing was passed as descriptor ${descriptor}; in a shell ${descriptor}< FILE`,
      );
      expect(status).toBe(1);
    }
    expect(await textOf(start(["config", "check", "--token-file", "fd:1"]))).toContain("output goes there");
    expect(await textOf(start(["config", "check", "--token", made.token, "--config", "/dev/fd/9"]))).toContain(
      "--config: can't read descriptor 9: nothing was passed",
    );
  });

  it.each([3, 9, 30])("reads what was passed as descriptor %i: a file, a pipe, a socket", async (descriptor) => {
    const passed = (last: "pipe" | number): StdioOptions => [
      "ignore",
      "pipe",
      "pipe",
      ...Array.from({ length: descriptor - 3 }, () => "ignore" as const),
      last,
    ];
    const args = ["config", "check", "--token-file", `fd:${descriptor}`];
    const file = openSync(write("passed", made.token), "r");
    const path = makePipe(`passed-${descriptor}`);
    const both = openSync(path, "r+");
    const pipe = openSync(path, "r");
    const children = [start(args, passed(file)), start(args, passed(pipe)), start(args, passed("pipe"))];
    const texts = children.map(textOf);
    writeFileSync(both, made.token);
    for (const each of [file, both, pipe]) closeSync(each);
    const socket = children[2]?.stdio[descriptor];
    // Where the child ends early its output tells.
    if (socket instanceof Writable) socket.on("error", () => {}).end(made.token);
    for (const text of await Promise.all(texts)) expect(text).toContain(made.tunnelId);
  });

  it("reads a configuration from a pipe on stdin", async () => {
    const child = start(["config", "check", "--config", "/dev/stdin", "--token", made.token], "pipe");
    const text = textOf(child);
    await new Promise((resolve) => setTimeout(resolve, 100));
    child.stdin?.end("ingress:\n  - service: http_status:418\n");
    expect(await text).toContain("http_status:418");
  });
});
