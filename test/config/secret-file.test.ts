import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, openSync, closeSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readEnvironment } from "../../src/config/environment.ts";
import { exposureOf, readSecretFile } from "../../src/config/secret-file.ts";
import { cli, FakeIo } from "../cli/fake-io.ts";
import { cliPath } from "../end-to-end/start.ts";
import { makeCredentials } from "./make-credentials.ts";

let directory: string;
const made = makeCredentials();
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-secret-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string, mode = 0o600): string {
  const path = join(directory, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function failure(path: string): string {
  try {
    readSecretFile(path, "--token-file", {}, []);
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
  return "";
}

describe("a secret's file that can't be used says why, without its content", () => {
  it.each([
    ["missing", () => join(directory, "nowhere"), "no such file"],
    ["empty", () => write("empty", " \n"), "it is empty"],
    ["a directory", () => directory, "it is a directory"],
    ["endless", () => "/dev/zero", "it is longer than 64 KiB"],
    ["a descriptor that is not open", () => "fd:987654", "can't read descriptor 987654: it is not open"],
  ])("%s", (_name, make, text) => {
    expect(failure(make())).toContain(text);
    expect(failure(make())).toMatch(/^--token-file: can't read /);
  });

  it.skipIf(process.getuid?.() === 0)("one that is not ours", () => {
    expect(failure(write("closed", "x", 0o000))).toContain("permission denied");
  });

  it("one that holds something else", async () => {
    const path = write("other", "no-token-but-secret-all-the-same");
    const { status, io } = await cli(["run", "--token-file", path]);
    expect(status).toBe(1);
    expect(io.stderr.text).toContain("--token-file: Provided Tunnel token is not valid");
    expect(io.stderr.text).not.toContain("secret-all-the-same");
  });
});

describe("a secret that every user can read", () => {
  it.each([
    [0o644, true],
    [0o604, true],
    [0o640, false],
    [0o600, false],
    [0o400, false],
  ])("mode %o: warning %s", async (mode, warns) => {
    const path = write("token", made.token, mode);
    const { io, status } = await cli(["run", "--token-file", path]);
    expect(status).toBe(0);
    const warnings = io.stderr.entries.filter(({ level }) => level === "warn").map(({ message }) => String(message));
    expect(warnings.filter((text) => text.includes("every user of this machine can read"))).toHaveLength(warns ? 1 : 0);
    if (warns) expect(warnings.join()).toContain(`--token-file: every user of this machine can read ${path} (mode 0`);
  });

  it("is told of credentials files and of configuration files with a token, too", async () => {
    const credentials = write("credentials.json", made.json, 0o644);
    const { io } = await cli(["run", "--credentials-file", credentials, made.tunnelId, "--url", "http://localhost:1"]);
    expect(io.stderr.text).toContain(`every user of this machine can read ${credentials}`);
    const toml = write(
      "underpass.toml",
      `[tunnel]\nlocal_addr = "127.0.0.1:1"\n[tunnel.cloudflare]\nmode = "named"\ntoken = "${made.token}"\n`,
      0o644,
    );
    const config = await cli(["run", "--config", toml]);
    expect(config.io.stderr.text).toContain(`token: every user of this machine can read ${toml}`);
    chmodSync(toml, 0o600);
    expect((await cli(["run", "--config", toml])).io.stderr.text).not.toContain("every user");
  });

  it("is none where what mounts it keeps others out", () => {
    const path = write("mounted/tunnel-token", made.token, 0o444);
    expect(exposureOf(path, "x", {})).toHaveLength(1);
    expect(exposureOf(path, "x", { CREDENTIALS_DIRECTORY: join(directory, "mounted") })).toEqual([]);
    // As Kubernetes mounts a secret.
    write("volume/..2026_11_23_14_10_00.123456789/token", made.token, 0o644);
    symlinkSync("..2026_11_23_14_10_00.123456789", join(directory, "volume/..data"));
    symlinkSync("..data/token", join(directory, "volume/token"));
    expect(exposureOf(join(directory, "volume/token"), "x", {})).toEqual([]);
  });
});

describe("credentials of systemd", () => {
  it("are found by their names, after what the environment says itself", async () => {
    const CREDENTIALS_DIRECTORY = join(directory, "credentials");
    write("credentials/tunnel-token", `${made.token}\n`, 0o400);
    const found = await cli(["run"], { CREDENTIALS_DIRECTORY });
    expect(found.status).toBe(0);
    expect(found.tunnel?.config.identity).toMatchObject({ credentials: { tunnelId: made.tunnelId } });
    const other = makeCredentials();
    const chosen = await cli(["run"], { CREDENTIALS_DIRECTORY, TUNNEL_TOKEN: other.token });
    expect(chosen.tunnel?.config.identity).toMatchObject({ credentials: { tunnelId: other.tunnelId } });
  });

  it("a credentials file, too", () => {
    const CREDENTIALS_DIRECTORY = join(directory, "files");
    const path = write("files/tunnel-credentials", made.json, 0o400);
    const { layer } = readEnvironment({ CREDENTIALS_DIRECTORY });
    expect(layer.get("credentials-file")?.value).toBe(path);
    expect(layer.has("token-file")).toBe(false);
    expect(
      readEnvironment({ CREDENTIALS_DIRECTORY, TUNNEL_CRED_FILE: "/x" }).layer.get("credentials-file")?.value,
    ).toBe("/x");
  });
});

describe("stdin and descriptors", () => {
  const check = (name: string, stdio: ("pipe" | "ignore" | number)[], input?: string) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [cliPath, "config", "check", "--token-file", name, "--url", "http://localhost:1"],
      { stdio, input, env: { HOME: "/nonexistent", PATH: process.env["PATH"] }, encoding: "utf8" },
    );
    return { status, text: stdout + stderr };
  };

  it("`-` is stdin", () => {
    const { status, text } = check("-", ["pipe", "pipe", "pipe"], `${made.token}\n`);
    expect(text).toContain(made.tunnelId);
    expect(text).not.toContain(made.token);
    expect(status).toBe(0);
    expect(check("-", ["ignore", "pipe", "pipe"]).text).toContain("can't read stdin: it is empty");
  });

  it("a signal is heard while nothing comes", async () => {
    const io = new FakeIo();
    const running = cli(["run", "--token-file", "-"], {}, undefined, io);
    while (io.stdin.listenerCount("readable") === 0) await new Promise((resolve) => setImmediate(resolve));
    io.signal("SIGTERM");
    expect(await running).toMatchObject({ status: 0, tunnel: undefined });
  });

  it("stdin holds one thing", () => {
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [cliPath, "run", "--token-file", "-", ...args], {
        input: made.token,
        env: { HOME: "/nonexistent", PATH: process.env["PATH"] },
        encoding: "utf8",
      });
    expect(run("--stdin-control").stderr).toContain("stdin can't hold a secret and take commands (--stdin-control)");
    const two = run("--service-token-file", "-");
    expect(two.stderr).toContain("--token-file, --service-token-file: stdin holds one of them");
    expect(two.status).toBe(1);
  });

  it("a pipe that takes its time is waited for", async () => {
    const child = spawn(process.execPath, [cliPath, "config", "check", "--token-file", "-"], {
      env: { HOME: "/nonexistent", PATH: process.env["PATH"], TUNNEL_URL: "http://localhost:1" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.stdin.write(made.token.slice(0, 20));
    await new Promise((resolve) => setTimeout(resolve, 100));
    child.stdin.end(made.token.slice(20));
    await once(child, "close");
    expect(text).toContain(made.tunnelId);
  });

  it.each(["fd:3", "/dev/fd/3"])("%s is descriptor 3", (name) => {
    const descriptor = openSync(write("third", made.token), "r");
    try {
      expect(check(name, ["ignore", "pipe", "pipe", descriptor]).text).toContain(made.tunnelId);
    } finally {
      closeSync(descriptor);
    }
  });
});

describe("a token as an argument", () => {
  it("gets a hint, once, and works all the same", async () => {
    const { io, status } = await cli(["run", "--token", made.token]);
    expect(status).toBe(0);
    const hints = io.stderr.entries.filter(({ message }) => String(message).startsWith("--token can be read"));
    expect(hints).toEqual([expect.objectContaining({ level: "info" })]);
    const file = write("quiet", made.token);
    expect((await cli(["run", "--token-file", file])).io.stderr.text).not.toContain("list of processes");
    expect((await cli(["run"], { TUNNEL_TOKEN: made.token })).io.stderr.text).not.toContain("list of processes");
  });
});
