/** What systemd hears: from a fake program, and by the real systemd-notify through a real datagram socket. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tellSystemd } from "../../src/cli/systemd.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { type Command, startCommand } from "../end-to-end/start.ts";
import { findPeer, required, skipWithout } from "../peers.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { cli, FakeTunnel } from "./fake-io.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-systemd-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const made = makeCredentials();
const connection = { connIndex: 0 } as never;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A tunnel that only speaks. */
function fakeTunnel(): FakeTunnel {
  return new FakeTunnel({} as never, {});
}

interface Heard {
  readonly lines: string[];
  readonly warnings: string[];
}

function listen(env: Record<string, string> = {}, more: { readyWithinMs?: number; fails?: Error } = {}) {
  const heard: Heard = { lines: [], warnings: [] };
  const tunnel = fakeTunnel();
  const systemd = tellSystemd({
    env,
    pid: 4711,
    tunnel,
    logger: { ...silent, warn: (message) => void heard.warnings.push(message) },
    send: async (assignments) => {
      if (more.fails !== undefined) throw more.fails;
      heard.lines.push(assignments.join(" "));
    },
    ...(more.readyWithinMs === undefined ? {} : { readyWithinMs: more.readyWithinMs }),
  });
  return { heard, tunnel, systemd };
}

describe("the messages", () => {
  it("are one after another: starting, ready, state, reload, stop", async () => {
    const { heard, tunnel, systemd } = listen();
    tunnel.emit("registered", connection);
    tunnel.emit("registered", connection);
    tunnel.emit("state", { state: "degraded", previous: "ready", reasons: ["2 of 4\nconnections"] });
    await systemd.reload(async () => {});
    systemd.stopping();
    await systemd.end();
    expect(heard.lines).toEqual([
      "STATUS=Connecting to Cloudflare EXTEND_TIMEOUT_USEC=90000000",
      "READY=1 STATUS=Registered with Cloudflare",
      "STATUS=degraded: 2 of 4 connections",
      expect.stringMatching(/^RELOADING=1 MONOTONIC_USEC=\d+$/),
      "READY=1 STATUS=degraded: 2 of 4 connections",
      "STOPPING=1 STATUS=Finishing requests in progress",
    ]);
  });

  it("a reload before the start is complete says nothing: READY=1 would be taken for that", async () => {
    const { heard, systemd } = listen();
    await systemd.reload(async () => {});
    await systemd.end();
    expect(heard.lines).toHaveLength(1);
  });

  it("a tunnel that can't register has started all the same", async () => {
    const { heard, systemd } = listen({}, { readyWithinMs: 1 });
    while (heard.lines.length < 2) await sleep(1);
    await systemd.end();
    expect(heard.lines[1]).toBe("READY=1 STATUS=No connection has registered yet; trying on");
  });

  it("a missing program is told once, and nothing is tried again", async () => {
    const fails = Object.assign(new Error("spawn systemd-notify ENOENT"), { code: "ENOENT" });
    const { heard, tunnel, systemd } = listen({}, { fails });
    tunnel.emit("registered", connection);
    await systemd.end();
    expect(heard.warnings).toEqual([expect.stringContaining("systemd-notify is missing")]);
  });
});

describe("the watchdog", () => {
  const pings = ({ lines }: Heard) => lines.filter((line) => line === "WATCHDOG=1").length;

  it("gets signs of life from an event loop that turns, and none from one that hangs", async () => {
    const { heard, systemd } = listen({ WATCHDOG_USEC: "20000", WATCHDOG_PID: "4711" });
    while (pings(heard) < 3) await sleep(1);
    const before = pings(heard);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    expect(pings(heard)).toBe(before);
    // What was missed is not made up for.
    await sleep(0);
    await Promise.resolve();
    expect(pings(heard)).toBeLessThanOrEqual(before + 2);
    await systemd.end();
  });

  const others: Record<string, string>[] = [
    {},
    { WATCHDOG_USEC: "0" },
    { WATCHDOG_USEC: "x" },
    { WATCHDOG_USEC: "2000", WATCHDOG_PID: "1" },
  ];
  it.each(others)("%j: none", async (env) => {
    const { heard, systemd } = listen(env);
    await sleep(20);
    await systemd.end();
    expect(pings(heard)).toBe(0);
  });
});

describe("the command", () => {
  /** A program of that name that writes down what it is given. */
  function fakeProgram(body: string): { PATH: string; log: string } {
    const bin = mkdtempSync(join(directory, "bin-"));
    const log = join(bin, "log");
    writeFileSync(join(bin, "systemd-notify"), `#!/bin/sh\n${body.replaceAll("LOG", log)}\n`);
    chmodSync(join(bin, "systemd-notify"), 0o755);
    return { PATH: `${bin}:${process.env["PATH"]}`, log };
  }
  const run = ["run", "--url", "http://localhost:1"];

  it("tells by systemd-notify, with the socket and no secret in its environment", async () => {
    const { PATH, log } = fakeProgram('echo "$NOTIFY_SOCKET: $*" >> LOG; env >> LOG');
    const env = { PATH, NOTIFY_SOCKET: "/run/test/notify", TUNNEL_TOKEN: made.token };
    const { status } = await cli(run, env, (tunnel, io) => {
      tunnel.emit("registered", connection);
      io.signal("SIGTERM");
      tunnel.finish();
    });
    expect(status).toBe(0);
    const said = readFileSync(log, "utf8");
    expect(said.match(/^\/run\/test\/notify: .*$/gm)?.map((line) => line.replace(/^.*: (\w+=\w+).*/, "$1"))).toEqual([
      expect.stringContaining("STATUS=Connecting"),
      "READY=1",
      "STOPPING=1",
    ]);
    expect(said).not.toContain(made.token);
  });

  it("goes on where it fails or is missing, and says so", async () => {
    const failing = fakeProgram("echo no such socket >&2; exit 1");
    const env = { NOTIFY_SOCKET: "/nowhere", TUNNEL_TOKEN: made.token };
    const { io, status } = await cli(run, { ...env, PATH: failing.PATH });
    expect(status).toBe(0);
    expect(io.stderr.entries).toContainEqual(
      expect.objectContaining({
        level: "warn",
        message: expect.stringContaining("systemd-notify has failed"),
        error: "no such socket",
      }),
    );
    expect(io.stderr.text.split("systemd-notify has failed")).toHaveLength(2);
    mkdirSync(join(directory, "nothing"));
    const missing = await cli(run, { ...env, PATH: join(directory, "nothing") });
    expect(missing.status).toBe(0);
    expect(missing.io.stderr.text).toContain("systemd-notify is missing");
  });

  it("tells nobody without NOTIFY_SOCKET", async () => {
    const { PATH, log } = fakeProgram("echo >> LOG");
    await cli(run, { PATH, TUNNEL_TOKEN: made.token }, (tunnel) => {
      tunnel.emit("registered", connection);
      tunnel.finish();
    });
    expect(existsSync(log)).toBe(false);
  });
});

const notify = findPeer("SYSTEMD_NOTIFY", "/usr/bin/systemd-notify", "/bin/systemd-notify");
const python = findPeer("AIOQUIC_PYTHON", "/usr/bin/python3", "/usr/local/bin/python3");

/** systemd's end: a datagram socket that asks for the sender's process. It closes the descriptor of a barrier, as systemd does. */
const RECEIVER = `
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind(sys.argv[1])
print("listening", flush=True)
while True:
    data, anc, _, _ = s.recvmsg(8192, 4096)
    for level, kind, value in anc:
        if kind == socket.SCM_RIGHTS:
            for fd in array.array("i", value[: len(value) // 4 * 4]): os.close(fd)
    print(data.decode().replace("\\n", " "), flush=True)
`;

describe.skipIf(skipWithout(notify) || skipWithout(python))("the real systemd-notify", () => {
  let edge: MockEdge;
  let receiver: ChildProcess | undefined;
  let command: Command | undefined;
  beforeAll(async () => {
    edge = await startMockEdge();
  });
  afterAll(async () => {
    command?.child.kill("SIGKILL");
    receiver?.kill("SIGKILL");
    await edge.close();
  });

  it("brings all of it to a datagram socket: ready, signs of life, stopping", async () => {
    required(notify, "SYSTEMD_NOTIFY");
    const socket = join(directory, "notify.sock");
    receiver = spawn(required(python, "AIOQUIC_PYTHON"), ["-c", RECEIVER, socket], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    const heard = (part: string) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (!text.includes(part)) return;
          receiver?.stdout?.off("data", look);
          resolve();
        };
        receiver?.stdout?.on("data", look);
        look();
      });
    receiver.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    await heard("listening");
    const edges = ["--edge", edge.edgeAddress, "--cacert", await edge.caFile()];
    command = startCommand(["run", "--url", "http://127.0.0.1:1", ...edges], {
      env: {
        PATH: process.env["PATH"],
        HOME: "/nonexistent",
        TUNNEL_TOKEN: edge.issueToken(),
        NOTIFY_SOCKET: socket,
        WATCHDOG_USEC: "200000",
      },
    });
    await heard("READY=1");
    await heard("WATCHDOG=1");
    command.child.kill("SIGTERM");
    await heard("STOPPING=1");
    expect(await command.exit).toBe(0);
    expect(text.indexOf("READY=1")).toBeLessThan(text.indexOf("STOPPING=1"));
    expect(text).toContain("STATUS=Connecting to Cloudflare");
    expect(command.output.stderr).not.toContain("systemd");
  });
});
