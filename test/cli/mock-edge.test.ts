/** The command: what it prints is enough to use it. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { main } from "../../src/cli/dispatch.ts";
import { mockEdge } from "../../src/cli/mock-edge.ts";
import { parseToken } from "../../src/config/token.ts";
import { FakeIo } from "./fake-io.ts";

const scratch = mkdtempSync(join(tmpdir(), "underpass-mock-edge-cli-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Runs the command until it has printed how to use it, lets `use` do so, then ends it by a signal. */
async function during(
  args: readonly string[],
  use: (text: string, io: FakeIo) => Promise<void> | void,
): Promise<number> {
  const io = new FakeIo();
  const status = mockEdge(args, io);
  status.catch(() => {});
  try {
    await expect.poll(() => io.stdout.text, { timeout: 10_000 }).toContain("Ctrl-C ends it");
    await use(io.stdout.text, io);
  } finally {
    io.signal("SIGINT");
  }
  return await status;
}

describe("underpass mock-edge", () => {
  it("prints what connectors and visitors need, and ends on a signal", async () => {
    const status = await during([], async (text, io) => {
      const url = /Visitors come to +(\S+)/.exec(text)?.[1] ?? "";
      const response = await fetch(url);
      expect({ status: response.status, body: await response.text() }).toEqual({
        status: 530,
        body: "error code: 1033",
      });
      const [, caFile = "", tokenFile = ""] = /--cacert (\S+) --token-file (\S+)/.exec(text) ?? [];
      expect(readFileSync(caFile, "utf8")).toContain("BEGIN CERTIFICATE");
      const token = readFileSync(tokenFile, "utf8");
      expect(parseToken(token).tunnelId).toMatch(/^[0-9a-f-]{36}$/);
      expect(text + io.stderr.text).not.toContain(token.trim());
      const api = /Quick-tunnel API +(\S+)/.exec(text)?.[1] ?? "";
      expect((await fetch(`${api}/tunnel`, { method: "POST" })).status).toBe(200);
    });
    expect(status).toBe(0);
  });

  it("writes its files where it is told to", async () => {
    const [ca, token] = [join(scratch, "ca.pem"), join(scratch, "token")];
    const status = await during(
      ["--cacert-out", ca, `--token-out=${token}`, "--fault", "rate-limit:2"],
      async (text) => {
        expect(text).toContain(`--token-file ${token}`);
        expect(readFileSync(ca, "utf8")).toContain("BEGIN CERTIFICATE");
        expect(statSync(token).mode & 0o777).toBe(0o600);
        const api = /Quick-tunnel API +(\S+)/.exec(text)?.[1] ?? "";
        const statuses: number[] = [];
        for (let i = 0; i < 3; i++) statuses.push((await fetch(`${api}/tunnel`, { method: "POST" })).status);
        expect(statuses).toEqual([429, 429, 200]);
      },
    );
    expect(status).toBe(0);
  });

  it("explains itself", async () => {
    const io = new FakeIo();
    expect(await mockEdge(["--help"], io)).toBe(0);
    expect(io.stdout.text).toContain("--cacert-out");
  });

  it.each([
    [["--edge-prot", "1"], "did you mean --edge-port?"],
    [["--edge-port", "70000"], "a port from 0"],
    [["--fault", "refuze"], "refuse would be right"],
    [["--fault", "refuse:0"], "KIND:TIMES"],
    [["--certificate", "old"], "valid, expired, wrong-name, untrusted"],
    [["--host"], "--host"],
    [["stray"], "stray"],
    [["--host", "192.0.2.1"], '--host: found "192.0.2.1", which can\'t be listened on'],
    [["--host", "a..b"], '--host: found "a..b", which can\'t be listened on'],
    [["--edge-port", "40001", "--quick-port", "40001"], "--quick-port: found 40001, which --edge-port has"],
  ])("refuses %j", async (args, message) => {
    const io = new FakeIo();
    await expect(mockEdge(args, io)).rejects.toThrow(message);
    expect(io.listeners).toBe(0);
  });

  it.each(["edge-port", "public-port", "quick-port", "management-port"])(
    "names --%s, whose port is taken",
    async (flag) => {
      const other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
      const address = other.address();
      const port = String(typeof address === "object" ? address?.port : "");
      const io = new FakeIo();
      try {
        expect(await main(["mock-edge", `--${flag}`, port], io)).toBe(1);
      } finally {
        other.close();
      }
      expect(io.stderr.text).toMatch(
        new RegExp(
          `^underpass: --${flag}: found "${port}", which can't be listened on .*; another port, or none for a free one`,
        ),
      );
      expect(io.stdout.text).toBe("");
    },
  );

  it("names --edge-port where only its UDP port is taken", async () => {
    const other = createSocket("udp4").bind(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address();
    try {
      await expect(mockEdge(["--edge-port", String(port)], new FakeIo())).rejects.toThrow(
        `--edge-port: found "${port}"`,
      );
    } finally {
      other.close();
    }
  });
});
