/**
 * A real cloudflared's /metrics, where CLOUDFLARED_BIN names one: it must be what was recorded in test/fixtures/oracle/metrics.json,
 * which ours is compared with elsewhere. UPDATE_ORACLE=1 records it anew instead.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { startRig } from "../end-to-end/start.ts";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { parseExposition } from "../health/exposition.ts";
import {
  describeFamilies,
  type MetricsOracle,
  metricsOraclePath,
  type OracleFamily,
  type OraclePage,
  readMetricsOracle,
  readPages,
} from "./metrics-oracle.ts";
import { freePort } from "../ports.ts";

const binary = process.env.CLOUDFLARED_BIN ?? "";
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function listen(server: ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** The address of its metrics server, after a registration, a request that is answered and one that is not. */
async function runOver(protocol: "http2" | "quic"): Promise<string> {
  const edge = await startMockEdge();
  closers.push(() => edge.close());
  const origin = createServer((request, response) => {
    if (request.url === "/broken") request.socket.destroy();
    else response.end("hello");
  });
  closers.push(() => new Promise((resolve) => origin.close(resolve)));
  const url = `http://127.0.0.1:${await listen(origin)}`;
  const address = `127.0.0.1:${await freePort()}`;
  const edges = ["--edge", edge.edgeAddress, "--edge", edge.edgeAddress, "--cacert", await edge.caFile()];
  const options = ["--no-autoupdate", "--metrics", address, "--protocol", protocol, "--url", url];
  const child = spawn(binary, ["tunnel", ...edges, ...options, "run"], {
    stdio: "ignore",
    env: { ...process.env, TUNNEL_TOKEN: edge.issueToken() },
  });
  const exit = once(child, "exit");
  closers.push(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  await edge.registered(2);
  expect((await fetch(edge.publicUrl)).status).toBe(200);
  expect((await fetch(new URL("/broken", edge.publicUrl))).status).toBe(502);
  return `http://${address}`;
}

async function metricsOf(url: string): Promise<string> {
  const text = await (await fetch(`${url}/metrics`)).text();
  // Go's own, with types of their own.
  return text.replaceAll(/^(?:# (?:HELP|TYPE) )?go_.*\n/gm, "");
}

/** Packets are dropped, lost or early as it happens, and the MTU is told once it has grown. */
const BY_CHANCE = /^quic_client_(?:dropped_packets|lost_packets|buffered_packets|mtu)$/;

const sure = (all: MetricsOracle["families"]): MetricsOracle["families"] =>
  Object.fromEntries(Object.entries(all).filter(([name]) => !BY_CHANCE.test(name)));

describe.skipIf(binary === "")("cloudflared's metrics", () => {
  it("are those that were recorded", async () => {
    const families: Record<string, OracleFamily> = {};
    let pages: Record<string, OraclePage> = {};
    for (const protocol of ["http2", "quic"] as const) {
      const url = await runOver(protocol);
      pages = await readPages(url);
      Object.assign(families, describeFamilies(parseExposition(await metricsOf(url))));
    }
    if (process.env.UPDATE_ORACLE === "1") {
      const version = /version (\S+)/.exec(execFileSync(binary, ["--version"], { encoding: "utf8" }))?.[1] ?? "unknown";
      const recorded = new Date().toISOString().slice(0, 10);
      const oracle: MetricsOracle = { version, recorded, families: sure(families), pages };
      writeFileSync(metricsOraclePath, `${JSON.stringify(oracle, undefined, 2)}\n`);
      return;
    }
    expect({ families: sure(families), pages }).toEqual({
      families: readMetricsOracle().families,
      pages: readMetricsOracle().pages,
    });
  }, 60_000);
});

describe("the recorded metrics of cloudflared", () => {
  it("stand beside pages that ours answers alike", async () => {
    const rig = await startRig({ haConnections: 2, metrics: "127.0.0.1:0", origin: { fetch: () => new Response() } });
    closers.push(() => rig.stop());
    await rig.edge.registered(2);
    // The edge knows of the second one a moment earlier.
    await expect.poll(() => readPages(rig.tunnel.metricsUrl ?? "")).toEqual(readMetricsOracle().pages);
  });

  it("are of a version, and many", () => {
    const { families, version } = readMetricsOracle();
    expect(version).toMatch(/^\d{4}\.\d+\.\d+$/);
    expect(Object.keys(families).length).toBeGreaterThan(40);
  });
});
