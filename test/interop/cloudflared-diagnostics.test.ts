/**
 * A real cloudflared's `tunnel ready` and `tunnel diag` about a tunnel of ours, and ours about one of its, where CLOUDFLARED_BIN
 * names one.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../src/index.ts";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { cli } from "../cli/fake-io.ts";
import { unpack } from "../health/diagnostics/unpack.ts";
import { freePort } from "../ports.ts";

const binary = process.env.CLOUDFLARED_BIN ?? "";
const run = promisify(execFile);
let directory: string;
const closers: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-diag-interop-"));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(directory, { recursive: true, force: true });
});

async function mockEdge(): ReturnType<typeof startMockEdge> {
  const edge = await startMockEdge();
  closers.push(() => edge.close());
  return edge;
}

describe.skipIf(binary === "")("cloudflared, about a tunnel of ours", () => {
  it("finds it ready, and its diag reads all pages", async () => {
    const edge = await mockEdge();
    const tunnel = await connect({
      token: edge.issueToken(),
      origin: { fetch: () => new Response("x") },
      edge: [edge.edgeAddress, edge.edgeAddress],
      haConnections: 2,
      cacert: edge.caPem,
      metrics: "127.0.0.1:0",
    });
    closers.push(() => tunnel.close({ grace: 0 }));
    await edge.registered(2);
    const address = new URL(tunnel.metricsUrl ?? "").host;
    await run(binary, ["tunnel", "--metrics", address, "ready"]);

    await run(binary, ["tunnel", "diag", "--metrics", address, "--no-diag-network", "--no-diag-logs"], {
      cwd: directory,
    });
    const [name = ""] = readdirSync(directory);
    expect(name).toMatch(/^cloudflared-diag-.*\.zip$/);
    const files = unpack(readFileSync(join(directory, name)));
    const json = (file: string): unknown => JSON.parse(files.get(file) ?? "");
    expect(json("task-result.json")).toMatchObject({
      "cli configuration": { result: "success" },
      configuration: { result: "success" },
      metrics: { result: "success" },
      "system information": { result: "success" },
      "tunnel state": { result: "success" },
    });
    // Read into Go's structures and written out again.
    expect(json("tunnelstate.json")).toEqual({
      tunnelID: tunnel.tunnelId,
      connectorID: tunnel.connectorId,
      connections: [
        { isConnected: true, protocol: 1, edgeAddress: "127.0.0.1" },
        { isConnected: true, protocol: 1, edgeAddress: "127.0.0.1", index: 1 },
      ],
    });
  }, 30_000);
});

describe.skipIf(binary === "")("underpass, about a cloudflared", () => {
  it("finds it ready, and collects what it serves", async () => {
    const edge = await mockEdge();
    const token = edge.issueToken();
    const tokenFile = join(directory, "token");
    writeFileSync(tokenFile, token);
    const address = `127.0.0.1:${await freePort()}`;
    const logfile = join(directory, "cloudflared.log");
    const edges = ["--edge", edge.edgeAddress, "--edge", edge.edgeAddress, "--cacert", await edge.caFile()];
    const options = ["--no-autoupdate", "--metrics", address, "--logfile", logfile, "--protocol", "http2"];
    const child = spawn(binary, ["tunnel", ...edges, ...options, "run", "--token-file", tokenFile], {
      stdio: "ignore",
    });
    const exit = once(child, "exit");
    closers.push(async () => {
      child.kill("SIGKILL");
      await exit;
    });
    await edge.registered(2);

    expect(await cli(["ready", "--metrics", address])).toMatchObject({ status: 0 });
    const health = await cli(["healthcheck", "--metrics", address]);
    expect([health.status, health.io.stdout.text]).toEqual([0, expect.stringContaining("ready (2 connections)")]);

    const path = join(directory, "ours.zip");
    const { io, status } = await cli([
      "diag",
      "--metrics",
      address,
      "--api-url",
      edge.quickUrl,
      "--quick-service",
      edge.quickUrl,
      path,
    ]);
    expect([status, io.stdout.text]).toEqual([0, `${path}\n`]);
    const files = unpack(readFileSync(path));
    expect(files.get("cloudflared_logs.txt")).toContain("Registered tunnel connection");
    expect(JSON.parse(files.get("prechecks.json") ?? "")).toMatchObject({ SuggestedProtocol: 0 });
    for (const text of files.values()) expect(text).not.toContain(token);
  }, 30_000);
});
