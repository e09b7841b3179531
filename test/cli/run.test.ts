import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UnderpassError } from "../../src/errors.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { cli, FakeIo } from "./fake-io.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-run-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const made = makeCredentials();
const run = ["run", "--token", made.token, "--url", "http://localhost:8080"];
const connection = {
  connIndex: 0,
  state: "registered",
  protocol: "http2",
  edgeAddress: undefined,
  connectionId: undefined,
  location: undefined,
  roundTripMs: undefined,
  ageMs: undefined,
  activeStreams: 0,
  requests: 0,
  resets: 0,
  reconnects: 0,
  lastError: undefined,
} as const;

describe("a named tunnel", () => {
  it("starts with the lines that people look for", async () => {
    const { io } = await cli([...run, "--grace-period", "1m30s", "--edge", "127.0.0.1:1"], {
      TUNNEL_TOKEN: made.token,
      TUNNEL_LABEL: "x",
    });
    expect(io.stderr.messages).toEqual([
      "Starting tunnel",
      expect.stringMatching(/^Version \d+\.\d+\.\d+/),
      expect.stringMatching(/^Node\.js v\d+/),
      "Settings: map[edge:[127.0.0.1:1] grace-period:1m30s token:***** url:http://localhost:8080]",
      "Environmental variables map[TUNNEL_LABEL:x TUNNEL_TOKEN:*****]",
      expect.stringMatching(/^--token can be read in the list of processes/),
      "Generated Connector ID: 00000000-0000-4000-8000-000000000000",
      "Initial protocol quic",
      "Tunnel server stopped",
    ]);
    expect(io.stderr.entries[0]).toMatchObject({ tunnelID: made.tunnelId, level: "info" });
    expect(io.stdout.text).toBe("");
  });

  it("writes JSON off a terminal, text on one, and what --output says", async () => {
    expect((await cli(run)).io.stderr.text).toMatch(/^\{"level":"info"/);
    expect((await cli([...run, "--output", "default"])).io.stderr.text).toMatch(/^\S+Z INF /);
    const terminal = new FakeIo({ NO_COLOR: "1" });
    terminal.stderr.isTTY = true;
    expect((await cli(run, {}, undefined, terminal)).io.stderr.text).toMatch(/^\S+Z INF /);
    const colourful = new FakeIo({ TERM: "xterm" });
    colourful.stderr.isTTY = true;
    expect((await cli(run, {}, undefined, colourful)).io.stderr.text).toContain("\u001b[32mINF\u001b[0m");
    const tunnel = ["tunnel", "run", "--token", made.token];
    expect((await cli(tunnel)).io.stderr.text).toMatch(/^\S+Z INF /);
    expect((await cli([...tunnel, "--output=json"])).io.stderr.text).toMatch(/^\{"level":"info"/);
  });

  it("heeds the level; cloudflared's rule for a wrong one under tunnel, an error elsewhere", async () => {
    expect((await cli([...run, "--loglevel", "error"])).io.stderr.text).toBe("");
    expect((await cli([...run, "--loglevel", "loud"])).status).toBe(1);
    const { status, io } = await cli(["tunnel", "--loglevel", "loud", "run", "--token", made.token]);
    expect(status).toBe(0);
    expect(io.stderr.text).toMatch(/ERR Failed to parse log level "loud", using "info" instead/);
  });

  it("warns and notes what the configuration deserves", async () => {
    const { io } = await cli([...run, "--protocol", "h2mux", "--ui", "--heartbeat-count=5"]);
    expect(io.stderr.messages).toContain("Accepted, without effect as in cloudflared: --heartbeat-count, --ui");
    expect(io.stderr.entries.find(({ level }) => level === "warn")?.["message"]).toContain("h2mux is gone");
  });

  it("ends with status 1 and its error when the tunnel gives up", async () => {
    const error = new UnderpassError("ERR_UNDERPASS_FINAL", "the edge said no", {
      cause: new Error("Unauthorized: bad secret"),
    });
    const { status, io } = await cli(run, {}, (tunnel) => tunnel.finish(error));
    expect(status).toBe(1);
    expect(io.stderr.entries.at(-1)).toMatchObject({
      level: "error",
      message: "Initiating shutdown",
      error: "the edge said no: Unauthorized: bad secret",
      code: "ERR_UNDERPASS_FINAL",
    });
    expect(io.listeners).toBe(0);
  });

  it("an address that can't be bound is an error at once", async () => {
    const { status, io, tunnel } = await cli([...run, "--edge-bind-address", "192.0.2.1"]);
    expect(status).toBe(1);
    expect(tunnel).toBeUndefined();
    expect(io.stderr.text).toMatch(/^underpass: --edge-bind-address: found "192\.0\.2\.1", which can't be bound/);
    expect((await cli([...run, "--edge-bind-address", "127.0.0.1"])).status).toBe(0);
  });
});

describe("signals", () => {
  it("the first drains, the second hurries, the third ends the process", async () => {
    const { status, io, tunnel } = await cli(run, {}, (tunnel, io) => {
      io.signal("SIGTERM");
      expect(tunnel.closes).toEqual([undefined]);
      io.signal("SIGINT");
      expect(tunnel.closes).toEqual([undefined, { grace: 0 }]);
      expect(io.killed).toBe(0);
      io.signal("SIGTERM");
      expect(io.killed).toBe(1);
      tunnel.finish();
    });
    expect(status).toBe(0);
    expect(tunnel?.closes).toHaveLength(3);
    expect(io.stderr.messages).toContain("Initiating graceful shutdown due to signal terminated ...");
    expect(io.listeners).toBe(0);
  });

  it("one that npm passes on, beside the terminal, is no second one", async () => {
    const { tunnel } = await cli(run, {}, (tunnel, io) => {
      io.signal("SIGINT");
      io.signal("SIGINT");
      tunnel.finish();
    });
    expect(tunnel?.closes).toEqual([undefined]);
  });

  it("SIGINT is named as cloudflared names it", async () => {
    const { io } = await cli(run, {}, (tunnel, io) => {
      io.signal("SIGINT");
      tunnel.finish();
    });
    expect(io.stderr.messages).toContain("Initiating graceful shutdown due to signal interrupt ...");
  });

  it("one that comes while the configuration is being read ends with 0, and starts nothing", async () => {
    const io = new FakeIo();
    const running = cli(run, {}, undefined, io);
    io.signal("SIGTERM");
    expect(await running).toMatchObject({ status: 0, tunnel: undefined });
  });
});

describe("a quick tunnel", () => {
  it("shows its address in a box on stderr, and alone on stdout, each time it is new", async () => {
    const { io } = await cli(["tunnel", "--url", "3000"], {}, (tunnel) => {
      tunnel.emit("url", "https://some-words.example.com");
      tunnel.emit("url", "https://other-words-that-are-longer.example.com");
      tunnel.finish();
    });
    expect(io.stdout.text).toBe("https://some-words.example.com\nhttps://other-words-that-are-longer.example.com\n");
    const box = io.stderr.text.split("\n").map((line) => line.replace(/^\S+ INF /, ""));
    const start = box.findIndex((line) => line.startsWith("+--"));
    const width = box[start]?.length;
    expect(box.slice(start, start + 4).map((line) => line.length)).toEqual([width, width, width, width]);
    expect(box[start + 1]).toMatch(/^\| {2}Your quick Tunnel has been created! .* {2}\|$/);
    expect(box[start + 2]).toMatch(/^\| {2}https:\/\/some-words\.example\.com +\|$/);
    expect(io.stderr.text).toContain("Requesting new quick Tunnel on api.trycloudflare.com...");
  });

  it("goes on when nobody reads stdout", async () => {
    const { io, status } = await cli(["--url", "3000"], {}, (tunnel, io) => {
      io.stdout._write = (_chunk, _encoding, done) => done(Object.assign(new Error("EPIPE"), { code: "EPIPE" }));
      tunnel.emit("url", "https://a.example.com");
      setImmediate(() => {
        tunnel.emit("url", "https://b.example.com");
        tunnel.finish();
      });
    });
    expect(status).toBe(0);
    expect(io.stderr.text).toContain("https://b.example.com");
  });
});

describe("--pidfile", () => {
  const withPidFile = (path: string, act: () => void) =>
    cli([...run, "--pidfile", path], {}, (tunnel) => {
      tunnel.emit("registered", connection);
      const isWritten = () => existsSync(path) && readFileSync(path, "utf8") === String(process.pid);
      const wait = () => {
        if (!isWritten()) {
          setImmediate(wait);
          return;
        }
        act();
        tunnel.finish();
      };
      wait();
    });

  it("is written once a connection has registered, over one that is left, and removed at the end", async () => {
    const path = join(directory, "pid");
    await cli([...run, "--pidfile", path]);
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, "1234567");
    let was = "";
    await withPidFile(path, () => {
      was = readFileSync(path, "utf8");
    });
    expect(was).toBe(String(process.pid));
    expect(existsSync(path)).toBe(false);
  });

  it("stays where it is another process's by now, as does one that was never written", async () => {
    const path = join(directory, "successor");
    await withPidFile(path, () => writeFileSync(path, "7654321"));
    expect(readFileSync(path, "utf8")).toBe("7654321");
    await cli([...run, "--pidfile", path]);
    expect(readFileSync(path, "utf8")).toBe("7654321");
  });

  it.skipIf(process.platform === "win32")("that is a pipe with a reader is written to, and left there", async () => {
    const path = join(directory, "read");
    execFileSync("mkfifo", [path]);
    const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      const read = Buffer.alloc(100);
      let length = 0;
      await cli([...run, "--pidfile", path], {}, (tunnel) => {
        tunnel.emit("registered", connection);
        const wait = () => {
          try {
            length = readSync(reader, read);
            tunnel.finish();
          } catch {
            // Nothing has been written yet.
            setImmediate(wait);
          }
        };
        wait();
      });
      expect(read.toString("utf8", 0, length)).toBe(String(process.pid));
      expect(existsSync(path)).toBe(true);
    } finally {
      closeSync(reader);
    }
  });

  it.each(["/nonexistent/pid", "pipe"])("that can't be written is an error line: %s", async (name) => {
    const path = join(directory, name);
    if (name === "pipe") execFileSync("mkfifo", [path]);
    const { status, io } = await cli([...run, "--pidfile", path], {}, (tunnel, io) => {
      tunnel.emit("registered", connection);
      const wait = () => (io.stderr.text.includes("Unable to write pid") ? tunnel.finish() : setImmediate(wait));
      wait();
    });
    expect(status).toBe(0);
    expect(io.stderr.entries.find(({ message }) => message === "Unable to write pid")).toMatchObject({
      level: "error",
    });
  });
});
