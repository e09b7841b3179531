import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collectLogs, type LogSource, runProgram, unitOfGroups } from "../../../src/health/diagnostics/logs.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-logs-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function collect(source: Partial<LogSource>): Promise<{ text: string; ran: string[] }> {
  const ran: string[] = [];
  const all: LogSource = {
    logfile: undefined,
    logDirectory: undefined,
    pid: undefined,
    containerId: undefined,
    podId: undefined,
    ...source,
  };
  const run = (program: string, args: readonly string[]): Promise<string> => {
    ran.push([program, ...args].join(" "));
    return Promise.resolve("ran\n");
  };
  return { text: await collectLogs(all, run, new AbortController().signal), ran };
}

describe("the log of a tunnel", () => {
  it("is its file's", async () => {
    const path = join(directory, "one.log");
    writeFileSync(path, "a\nb\n");
    expect((await collect({ logfile: path })).text).toBe("a\nb\n");
  });

  it.skipIf(process.platform !== "linux")("is looked for where the tunnel was started", async () => {
    const path = join(directory, "relative.log");
    writeFileSync(path, "x\n");
    expect((await collect({ logfile: relative(process.cwd(), path), pid: process.pid })).text).toBe("x\n");
  });

  it("is the end of a file that is too long, by whole lines", async () => {
    const path = join(directory, "long.log");
    writeFileSync(path, `first\n${`${"x".repeat(99)}\n`.repeat(90_000)}last\n`);
    const { text } = await collect({ logfile: path });
    expect(text.length).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(text.startsWith("x".repeat(99))).toBe(true);
    expect(text.endsWith("x\nlast\n")).toBe(true);
  });

  it("is all files of a directory, the oldest first", async () => {
    const path = join(directory, "rolling");
    mkdirSync(path);
    for (const [name, time] of [
      ["cloudflared.log", 3_000],
      ["cloudflared-2026-01-01.log", 1_000],
      ["cloudflared.log.1", 2_000],
      ["cert.pem", 4_000],
    ] as const) {
      writeFileSync(join(path, name), `${name}\n`);
      utimesSync(join(path, name), time, time);
    }
    expect((await collect({ logDirectory: path })).text).toBe(
      "cloudflared-2026-01-01.log\ncloudflared.log.1\ncloudflared.log\n",
    );
    mkdirSync(join(directory, "none"));
    await expect(collect({ logDirectory: join(directory, "none") })).rejects.toThrow("holds no log file");
  });

  it("is a container's, where one is named", async () => {
    expect((await collect({ containerId: "abc", logfile: "/x" })).ran).toEqual([
      "docker logs --since=336h --tail=10000 -- abc",
    ]);
    expect((await collect({ podId: "pod-1" })).ran).toEqual(["kubectl logs --since=336h --tail=10000 -- pod-1"]);
  });

  it("says what would make one, where there is none", async () => {
    await expect(collect({})).rejects.toThrow("--logfile");
    await expect(collect({ logfile: join(directory, "missing.log") })).rejects.toThrow("ENOENT");
    await expect(collect({ logfile: directory })).rejects.toThrow("is no regular file");
  });

  it.each([
    ["0::/system.slice/underpass.service\n", { name: "underpass.service", isUser: false }],
    ["12:cpu:/\n1:name=systemd:/system.slice/underpass@a.service\n", { name: "underpass@a.service", isUser: false }],
    [
      "0::/user.slice/user-1000.slice/user@1000.service/app.slice/underpass.service\n",
      { name: "underpass.service", isUser: true },
    ],
    ["0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope\n", undefined],
    ["0::/\n", undefined],
    ["", undefined],
  ])("in systemd's journal is that of the unit in %j", (groups, unit) => {
    expect(unitOfGroups(groups)).toEqual(unit);
  });
});

describe("a program of this machine", () => {
  const signal = new AbortController().signal;
  const node = (script: string, more = signal): Promise<string> => runProgram(process.execPath, ["-e", script], more);

  it("tells both of its outputs", async () => {
    expect(await node('console.log("out"); console.error("err")')).toBe("out\nerr\n");
  });

  it("that fails says why; that is missing, too; that takes too long is ended", async () => {
    await expect(node('console.error("no such container"); process.exit(1)')).rejects.toThrow(/: no such container$/);
    await expect(runProgram("/nonexistent/docker", [], signal)).rejects.toThrow("ENOENT");
    await expect(node("setInterval(() => {}, 1000)", AbortSignal.timeout(200))).rejects.toThrow("aborted");
  });
});
