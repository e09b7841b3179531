import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderReport } from "../../src/cli/check.ts";
import type { CheckReport } from "../../src/health/diagnostics/checks/assess.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { cli } from "./fake-io.ts";

let edge: MockEdge;
let directory: string;
const origin = createServer((_request, response) => response.end());
/** What leads every check to this machine alone. */
let reach: string[];

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

beforeAll(async () => {
  edge = await startMockEdge();
  directory = mkdtempSync(join(tmpdir(), "underpass-check-"));
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  const quick = ["--api-url", edge.quickUrl, "--quick-service", edge.quickUrl];
  reach = ["--edge", edge.edgeAddress, "--cacert", write("ca.pem", edge.caPem), ...quick];
});
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  origin.close();
  await edge.close();
});

async function check(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ status: number; report: CheckReport; text: string }> {
  const { io, status } = await cli(["check", "--json", ...reach, ...args], env);
  expect(io.stderr.text).toBe("");
  return { status, report: JSON.parse(io.stdout.text) as CheckReport, text: io.stdout.text };
}

const rowsOf = ({ checks }: CheckReport, component: string): string[][] =>
  checks.filter((row) => row.component === component).map(({ details, status, target }) => [status, target, details]);

describe("underpass check", () => {
  it("with nothing configured looks at the network alone", async () => {
    const { report, status } = await check([]);
    expect(status).toBe(0);
    expect(rowsOf(report, "Configuration")).toEqual([
      ["skipped", "command line and environment", expect.stringContaining("no tunnel is configured")],
    ]);
    expect(rowsOf(report, "Token")).toEqual([["skipped", "-", expect.any(String)]]);
    expect(report).toMatchObject({
      ok: true,
      suggestedProtocol: "quic",
      summary: "A tunnel works from here over QUIC.",
    });
  });

  it("looks at the token and the service that it is given, and shows no secret", async () => {
    const made = makeCredentials();
    const url = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
    for (const [args, env, where] of [
      [["--token", made.token], {}, "--token"],
      [["--token-file", write("token", made.token)], {}, "--token-file"],
      [[], { TUNNEL_TOKEN: made.token }, "TUNNEL_TOKEN"],
    ] as const) {
      const { report, status, text } = await check([...args, "--url", url], env);
      expect(status).toBe(0);
      expect(rowsOf(report, "Token")).toEqual([["ok", where, expect.stringContaining(made.tunnelId)]]);
      expect(rowsOf(report, "Origin")).toEqual([["ok", url, "answers HEAD / with 200"]]);
      // Quick tunnels are of no interest to a named one.
      expect(rowsOf(report, "Quick tunnels")).toEqual([]);
      expect(text).not.toContain(made.token);
    }
  });

  it("tells a broken token once, and looks at the rest all the same", async () => {
    const made = makeCredentials();
    const { report, status, text } = await check(["--url", "http://127.0.0.1:1"], {
      TUNNEL_TOKEN: made.token.slice(0, -9),
    });
    expect(status).toBe(1);
    expect(rowsOf(report, "Token")).toEqual([["failed", "TUNNEL_TOKEN", expect.stringContaining("cut off")]]);
    expect(rowsOf(report, "Configuration")).toEqual([["ok", expect.any(String), "valid; a named tunnel"]]);
    expect(rowsOf(report, "Origin")).toEqual([["failed", "http://127.0.0.1:1", expect.any(String)]]);
    expect(rowsOf(report, "TCP")[0]?.[0]).toBe("ok");
    expect(text).not.toContain(made.token.slice(0, 20));
  });

  it("looks at the rules and their origins whatever is wrong with the credentials, and says what that is", async () => {
    const url = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
    const path = write(
      "orphan.yml",
      `tunnel: 11111111-2222-4333-8444-555555555555\ncredentials-file: /nonexistent.json\ningress:\n  - service: ${url}\n`,
    );
    for (const args of [
      ["--config", path],
      ["--token-file", "/nonexistent", "--url", url],
    ]) {
      const { report } = await check(args);
      const [token] = report.checks.filter(({ component }) => component === "Token");
      expect(token).toMatchObject({ status: "failed", action: expect.stringContaining("a file that is there") });
      expect(rowsOf(report, "Configuration").map(([state]) => state)).toEqual(["ok"]);
      expect(rowsOf(report, "Origin")).toEqual([["ok", url, "answers HEAD / with 200"]]);
    }
  });

  it("has every key where nothing works, and speaks of the port that was given", async () => {
    const { io } = await cli(["check", "--json", ...reach.slice(2), "--edge", "127.0.0.1:1"]);
    const report = JSON.parse(io.stdout.text) as CheckReport;
    expect(report).toMatchObject({ ok: false, suggestedProtocol: null });
    const actionOf = (id: string) => report.checks.find((row) => row.id === id)?.action;
    expect(actionOf("tcp.edge1.ipv4")).toBe("open outgoing TCP port 1 in the firewall");
  });

  it("tells each problem of a configuration, and uses what of it is right", async () => {
    const path = write("wrong.yml", "ingress:\n  - service: htp://x\n");
    const { report, status } = await check(["--config", path, "--retries", "9", "--tag", "x"]);
    expect(status).toBe(1);
    const rows = rowsOf(report, "Configuration");
    expect(rows.map(([state]) => state)).toEqual(["failed", "failed"]);
    expect(JSON.stringify(rows)).toContain("wrong.yml:2");
    expect(rowsOf(report, "UDP")[0]?.[0]).toBe("ok");
  });

  it("goes on where a flag or the file can't be read at all", async () => {
    const { report } = await check(["--retries", "x", "--config", join(directory, "missing.yml")]);
    expect(rowsOf(report, "Configuration")).toEqual([["failed", "--retries", expect.stringContaining('found "x"')]]);
    expect(rowsOf(report, "TCP")[0]?.[0]).toBe("ok");
  });

  it("shows what is only worth a warning, as the tunnel would log it", async () => {
    const path = write("warned.yml", "retriess: 4\nurl: http://127.0.0.1:1\n");
    const { report } = await check(["--config", path]);
    expect(rowsOf(report, "Configuration")).toEqual([
      ["ok", path, "valid; a quick tunnel"],
      ["warning", path, expect.stringContaining("retriess is ignored")],
    ]);
  });

  it("tells of an SSL_CERT_FILE that is left out", async () => {
    const { report } = await check(["--url", "http://127.0.0.1:1"], { SSL_CERT_FILE: join(directory, "missing.pem") });
    expect(rowsOf(report, "Configuration").filter(([state]) => state === "warning")).toEqual([
      [
        "warning",
        expect.any(String),
        expect.stringMatching(/^SSL_CERT_FILE is left out: .*missing\.pem can't be read/),
      ],
    ]);
  });

  it("prints a table for people", async () => {
    const { io, status } = await cli(["check", ...reach, "--url", "http://127.0.0.1:1"]);
    expect(status).toBe(1);
    expect(io.stdout.text).toMatch(/^CHECK +TARGET +RESULT +DETAILS\n/);
    expect(io.stdout.text).toMatch(/^Origin +http:\/\/127\.0\.0\.1:1 +FAILED +nothing listens on 127/m);
    expect(io.stdout.text).toMatch(/^What to do:\n {2}Origin http:\/\/127\.0\.0\.1:1:\n {4}start the service/m);
    expect(io.stdout.text).toMatch(/^Cloudflare's edge is reached over QUIC, but 1 check has failed\.\n$/m);
  });

  it("tells who is in a container that localhost is the container itself", async () => {
    const table = async (url: string, env = {}) => (await cli(["check", ...reach, "--url", url], env)).io.stdout.text;
    const hint = "localhost is the container itself";
    expect(await table("http://localhost:1", { container: "podman" })).toContain(hint);
    expect(await table("http://127.0.0.1:1", { container: "podman" })).toContain(hint);
    expect(await table("http://localhost.invalid:1", { container: "podman" })).not.toContain(hint);
  });

  it("takes no argument, and only its own switches", async () => {
    expect((await cli(["check", "now"])).io.stderr.text).toContain("check takes no argument");
    expect((await cli(["check", "--short"])).status).toBe(1);
  });
});

describe("the table", () => {
  it("tells each thing to do once, and keeps a long line from the others' columns", () => {
    const row = (id: string, target: string) =>
      ({
        id,
        component: "UDP",
        target,
        status: "warning",
        details: "a\nb",
        action: "open it",
        code: undefined,
        milliseconds: 1,
      }) as const;
    const long = "x".repeat(80);
    const text = renderReport({
      ok: true,
      summary: "Fine.",
      suggestedProtocol: "http2",
      checks: [row("a", "t1"), row("b", long)],
    });
    expect(text.split("\n")).toEqual([
      `CHECK  ${"TARGET".padEnd(50)}  RESULT   DETAILS`,
      `UDP    ${"t1".padEnd(50)}  WARNING  a b`,
      `UDP    ${long}  WARNING  a b`,
      "",
      "What to do:",
      `  UDP t1, UDP ${long}:`,
      "    open it",
      "",
      "Fine.",
      "",
    ]);
  });
});
