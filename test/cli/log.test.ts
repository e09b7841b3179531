import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { formatConsole } from "../../src/cli/console-format.ts";
import { createLogger } from "../../src/cli/log.ts";
import { type FileEvents, FileSink, RollingSink, StreamSink } from "../../src/cli/log-sinks.ts";
import type { LogSettings } from "../../src/cli/log-settings.ts";
import { Scrubber } from "../../src/proxy/ingress/redact.ts";
import { Secret } from "../../src/config/secret.ts";
import { UnderpassError } from "../../src/errors.ts";
import { stuckStream, TextSink } from "./fake-io.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-log-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function settings(changes: Partial<LogSettings> = {}): LogSettings {
  return {
    level: "info",
    format: "json",
    colours: false,
    logfile: undefined,
    logDirectory: undefined,
    fileLevel: "info",
    fileFormat: "json",
    warnings: [],
    ...changes,
  };
}

const silentEvents: FileEvents = { onTrouble() {}, lostNotice: () => "" };

function logTo(changes: Partial<LogSettings> = {}, scrubber = new Scrubber()) {
  const sink = new TextSink();
  return { sink, logger: createLogger(settings(changes), sink, scrubber) };
}

describe("JSON lines", () => {
  it("hold level, time and message, and the fields beside them", () => {
    const { sink, logger } = logTo();
    logger.info("Registered tunnel connection", { connIndex: 0, location: "lhr01", event: 0 });
    const [entry] = sink.entries;
    expect(entry).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      connIndex: 0,
      location: "lhr01",
      event: 0,
      message: "Registered tunnel connection",
    });
  });

  it("show errors as text with their causes and code; a stack only when debugging", () => {
    const error = new UnderpassError("ERR_UNDERPASS_X", "it broke", { cause: new Error("deep", { cause: "text" }) });
    const { sink, logger } = logTo();
    logger.error("Serve tunnel error", { error });
    expect(sink.entries[0]).toMatchObject({ error: "it broke: deep", code: "ERR_UNDERPASS_X" });
    expect(sink.text).not.toContain("log.test");
    const debugging = logTo({ level: "debug" });
    debugging.logger.error("x", { error });
    expect(debugging.sink.entries[0]?.["stack"]).toContain("log.test");
  });

  it("take any field: secrets, bytes, cycles, big numbers, getters that throw", () => {
    const { sink, logger } = logTo();
    const cycle: Record<string, unknown> = { a: 1 };
    cycle["self"] = cycle;
    logger.info("odd", {
      secret: new Secret("s3cr3t-value"),
      bytes: Buffer.from("s3cr3t-value"),
      cycle,
      big: 5n,
      url: new URL("http://x/"),
      none: undefined,
      level: "fake",
      message: "fake",
      long: "x".repeat(10_000),
    });
    const entry = sink.entries[0] ?? {};
    expect(entry).toMatchObject({
      level: "info",
      message: "odd",
      secret: "[redacted]",
      bytes: "[12 bytes]",
      big: "5",
      url: "http://x/",
    });
    expect(entry).toMatchObject({ level_: "fake", message_: "fake" });
    expect(String(entry["long"]).length).toBeLessThan(5000);
    expect(sink.text).not.toContain("s3cr3t");
    const thrower = {
      get bad(): string {
        throw new Error("no");
      },
    };
    logger.info("after", { thrower });
    logger.info("last");
    expect(sink.messages.at(-1)).toBe("last");
  });

  it("leave out what is below the level", () => {
    const { sink, logger } = logTo({ level: "error" });
    logger.debug("d");
    logger.info("i");
    logger.warn("w");
    logger.error("e");
    expect(sink.messages).toEqual(["e"]);
    const fatal = logTo({ level: "fatal" });
    fatal.logger.error("e");
    expect(fatal.sink.text).toBe("");
  });
});

describe("console lines", () => {
  it("look like cloudflared's", () => {
    const { sink, logger } = logTo({ format: "console" });
    logger.info("Registered tunnel connection", { protocol: "http2", connIndex: 0, ip: "198.41.192.7" });
    logger.warn("Serve tunnel error", { connIndex: 1, error: new Error("dial failed"), ip: "::1" });
    expect(sink.text).toMatch(
      /^\S+Z INF Registered tunnel connection connIndex=0 ip=198\.41\.192\.7 protocol=http2\n\S+Z WRN Serve tunnel error error="dial failed" connIndex=1 ip=::1\n$/,
    );
  });

  it("can't be forged from outside, nor speak to the terminal", () => {
    const { sink, logger } = logTo({ format: "console" });
    logger.info("path\n2026-01-01T00:00:00Z INF fake\u001b[31m", { path: "a\nb\u001b[2J", "k\ny": "\u009b" });
    expect(sink.text.split("\n")).toHaveLength(2);
    expect(sink.text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });

  it("are coloured only when asked", () => {
    const json = '{"level":"error","time":"2026-01-02T03:04:05Z","error":"no","a":1,"message":"m"}';
    expect(formatConsole(json, false)).toBe("2026-01-02T03:04:05Z ERR m error=no a=1\n");
    expect(formatConsole(json, true)).toContain("\u001b[31mERR\u001b[0m");
  });
});

describe("files", () => {
  it("get JSON whatever the console shows, appended, mode 0644", async () => {
    const logfile = join(directory, "deep", "er", "x.log");
    for (const message of ["one", "two"]) {
      const { sink, logger } = logTo({ format: "console", logfile });
      logger.info(message);
      await logger.end();
      expect(sink.text).toContain(`INF ${message}`);
    }
    const lines = readFileSync(logfile, "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).message)).toEqual(["one", "two"]);
    expect(statSync(logfile).mode & 0o777 & ~0o022).toBe(0o644);
  });

  it("that can't be written are an error line, and the log goes on", () => {
    const { sink, logger } = logTo({ logfile: "/proc/nonexistent/x.log" });
    logger.info("still here");
    expect(sink.entries[0]).toMatchObject({ level: "error", message: expect.stringContaining("can't be written") });
    expect(sink.messages.at(-1)).toBe("still here");
  });

  it.skipIf(process.platform === "win32")("that are pipes without a reader hold nothing up", () => {
    const logfile = join(directory, "pipe");
    expect(spawnSync("mkfifo", [logfile]).status).toBe(0);
    const { sink, logger } = logTo({ logfile });
    logger.info("still here");
    expect(sink.entries[0]).toMatchObject({ level: "error", message: expect.stringContaining("ENXIO") });
    expect(sink.messages.at(-1)).toBe("still here");
  });

  it("roll at 1 MB and keep five", async () => {
    const path = join(directory, "rolling");
    const sink = new RollingSink(path, silentEvents);
    const line = `${"x".repeat(99_999)}\n`;
    for (let count = 0; count < 100; count++) {
      sink.write(line);
      // Backups are named by the millisecond.
      if (count % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await sink.end();
    const names = readdirSync(path).sort();
    expect(names.filter((name) => name !== "cloudflared.log")).toHaveLength(5);
    for (const name of names) expect(statSync(join(path, name)).size).toBeLessThanOrEqual(1_000_000);
    expect(existsSync(join(path, "cloudflared.log"))).toBe(true);
  });

  it("are rolled by one of those that share a directory, when they are full", async () => {
    const path = join(directory, "shared");
    const sinks = [new RollingSink(path, silentEvents), new RollingSink(path, silentEvents)] as const;
    const line = `${"x".repeat(99_999)}\n`;
    // As between processes: what one has rolled, the other learns when it looks.
    vi.useFakeTimers({ toFake: ["performance", "Date"], now: Date.now() });
    try {
      for (let count = 0; count < 45; count++) {
        sinks[count % 3 === 0 ? 0 : 1].write(line);
        vi.advanceTimersByTime(400);
      }
    } finally {
      vi.useRealTimers();
    }
    for (const sink of sinks) await sink.end();
    const sizes = readdirSync(path).map((name) => statSync(join(path, name)).size);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(4_500_000);
    expect(sizes).toHaveLength(5);
    for (const size of sizes) expect(size).toBeLessThanOrEqual(1_300_000);
    expect(sizes.filter((size) => size < 900_000)).toHaveLength(1);
  });
});

describe("a log file", () => {
  const written = (path: string): readonly string[] =>
    readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .filter((line) => line !== "");

  it("has a level and a format of its own", async () => {
    const logfile = join(directory, "own.log");
    const { sink, logger } = logTo({ level: "warn", logfile, fileLevel: "debug", fileFormat: "console" });
    for (const level of ["debug", "info", "warn", "error"] as const) logger[level](`one ${level}`, { connIndex: 1 });
    await logger.end();
    expect(sink.entries.map(({ message }) => message)).toEqual(["one warn", "one error"]);
    expect(written(logfile).map((line) => line.slice(21))).toEqual([
      "DBG one debug connIndex=1",
      "INF one info connIndex=1",
      "WRN one warn connIndex=1",
      "ERR one error connIndex=1",
    ]);
    const quiet = join(directory, "quiet.log");
    const other = logTo({ level: "debug", logfile: quiet, fileLevel: "error" });
    other.logger.info("not there");
    other.logger.error("there");
    await other.logger.end();
    expect(other.sink.messages).toEqual(["not there", "there"]);
    expect(written(quiet)).toHaveLength(1);
  });

  it("that is moved away or deleted begins anew at its path", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const path = join(directory, "moved.log");
      const sink = new FileSink(path, silentEvents);
      sink.write("one\n");
      renameSync(path, `${path}.1`);
      vi.advanceTimersByTime(1_100);
      sink.write("two\n");
      rmSync(path);
      vi.advanceTimersByTime(1_100);
      sink.write("three\n");
      expect([written(`${path}.1`), written(path)]).toEqual([["one"], ["three"]]);
      writeFileSync(path, "");
      vi.advanceTimersByTime(1_100);
      sink.write("four\n");
      expect([written(path), sink.size]).toEqual([["four"], 5]);
      await sink.end();
    } finally {
      vi.useRealTimers();
    }
  });

  it.skipIf(process.platform === "win32")(
    "that is a pipe costs lines while nobody reads, and tells what it lacks",
    () => {
      const path = join(directory, "fifo");
      expect(spawnSync("mkfifo", [path]).status).toBe(0);
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const bytes = Buffer.alloc(1 << 20);
      try {
        const { sink, logger } = logTo({ level: "error", fileLevel: "info", logfile: path });
        const fill = (): void => {
          for (let i = 0; i < 100; i++) logger.info(`line ${i}`, { text: "x".repeat(10_000) });
        };
        fill();
        const first = bytes.toString("utf8", 0, readSync(reader, bytes));
        logger.info("read again");
        const then = bytes.toString("utf8", 0, readSync(reader, bytes));
        fill();
        // Once a minute at most.
        expect(sink.entries).toMatchObject([{ message: "The log file can't be written: lines are lost" }]);
        // Beyond 4 KiB a pipe takes a part of a line; that does not spoil the next one.
        expect(first.endsWith("\n")).toBe(false);
        const lines = `${first}${then}`.trim().split("\n");
        expect(lines.slice(-2).map((line) => JSON.parse(line))).toMatchObject([
          { message: "Log lines are missing: the file could not be written" },
          { message: "read again" },
        ]);
      } finally {
        closeSync(reader);
      }
    },
  );

  it.runIf(existsSync("/dev/full"))(
    "on a full disk is one line on the console, and tells what it lacks when it can",
    () => {
      const path = join(directory, "disk.log");
      symlinkSync("/dev/full", path);
      vi.useFakeTimers({ toFake: ["performance"] });
      try {
        const { sink, logger } = logTo({ logfile: path });
        for (let i = 0; i < 5; i++) logger.info(`line ${i}`);
        const told = sink.entries.filter(({ level }) => level === "error");
        expect(told).toMatchObject([
          { message: "The log file can't be written: lines are lost", error: expect.stringContaining("ENOSPC") },
        ]);
        expect(sink.messages.filter((message) => String(message).startsWith("line"))).toHaveLength(5);
        rmSync(path);
        vi.advanceTimersByTime(1_100);
        logger.info("room again");
        expect(written(path).map((line) => JSON.parse(line))).toMatchObject([
          { level: "warn", count: 5, message: "Log lines are missing: the file could not be written" },
          { message: "room again" },
        ]);
      } finally {
        vi.useRealTimers();
      }
    },
  );
});

describe("lines that repeat", () => {
  it("are left out after twenty, counted, and told of", async () => {
    vi.useFakeTimers();
    try {
      const { sink, logger } = logTo();
      for (let i = 0; i < 5_000; i++)
        logger.warn("Request failed", { outcome: "origin-refused", error: "refused", path: `/${i}` });
      logger.warn("Request failed", { outcome: "origin-timeout", error: "late" });
      logger.warn("another");
      expect(sink.messages.filter((message) => message === "Request failed")).toHaveLength(21);
      expect(sink.messages.at(-1)).toBe("another");
      await vi.advanceTimersByTimeAsync(60_000);
      expect(sink.entries.at(-1)).toMatchObject({
        level: "warn",
        message: "Lines like one before were left out",
        repeated: "Request failed",
        detail: expect.stringContaining("refused"),
        count: 4_980,
      });
      expect(vi.getTimerCount()).toBe(0);
      logger.warn("Request failed", { outcome: "origin-refused", error: "refused" });
      expect(sink.messages.at(-1)).toBe("Request failed");
    } finally {
      vi.useRealTimers();
    }
  });

  it("are told of at the end, too; what is a record of each request is never left out", async () => {
    const { sink, logger } = logTo({ level: "debug" });
    for (let i = 0; i < 100; i++) {
      logger.info("Request served", { outcome: "ok" });
      logger.debug("detail");
      logger.error("broken", { error: new Error("same") });
    }
    await logger.end();
    const count = (message: string) => sink.messages.filter((one) => one === message).length;
    expect([count("Request served"), count("detail"), count("broken")]).toEqual([100, 100, 20]);
    expect(sink.entries.at(-1)).toMatchObject({ repeated: "broken", count: 80 });
  });
});

describe("a reader of stderr that is gone or stuck", () => {
  it("costs a bounded backlog; what was dropped is counted once it reads again", async () => {
    const stream = stuckStream();
    const sink = new StreamSink(stream, (count) => `dropped ${count}\n`);
    const line = `${"x".repeat(1023)}\n`;
    for (let count = 0; count < 5000; count++) sink.write(line);
    expect(stream.writableLength + stream.readableLength).toBeLessThan(2 << 20);
    let text = "";
    stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
    while (stream.writableLength > 0) await new Promise((resolve) => setImmediate(resolve));
    sink.write("after\n");
    await sink.end();
    while (!text.endsWith("after\n")) await new Promise((resolve) => setImmediate(resolve));
    const written = text.split("\n").filter((part) => part.startsWith("x")).length;
    expect(text).toMatch(new RegExp(`\ndropped ${5000 - written}\nafter\n$`));
  });

  it("does not hold up the end for ever", async () => {
    const stream = stuckStream();
    const sink = new StreamSink(stream, () => "");
    sink.write("x".repeat(1000));
    sink.write("x".repeat(1000));
    await sink.end();
    expect(stream.writableLength).toBeGreaterThan(0);
  });

  it("EPIPE ends writing, and nothing else", async () => {
    let writes = 0;
    const stream = new Writable({
      write(_chunk, _encoding, done) {
        writes++;
        done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
      },
    });
    const logger = createLogger(settings(), stream, new Scrubber());
    logger.info("one");
    await new Promise((resolve) => setImmediate(resolve));
    logger.info("two");
    await logger.end();
    expect(writes).toBe(1);
  });
});
