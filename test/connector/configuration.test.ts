/** Rules of a tunnel that runs, from the edge and from this machine, through the mock edge. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readOptions } from "../../src/connector/options.ts";
import { startTunnel } from "../../src/connector/tunnel.ts";
import { ConfigError, connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import { type MockEdge, type MockEdgeOptions, startMockEdge } from "../../src/mock-edge/index.ts";
import type { EdgeProtocol } from "../../src/types.ts";
import { defaultOriginRequest, singleService } from "../../src/proxy/ingress/defaults.ts";

let folder: string;
let serverOptions: https.ServerOptions;
let caFile: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "underpass-configuration-"));
  const keyFile = join(folder, "key.pem");
  caFile = join(folder, "ca.pem");
  const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=origin.test";
  const names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", keyFile, "-out", caFile];
  execFileSync("openssl", [...request.split(" "), ...names], { stdio: "ignore" });
  serverOptions = { key: readFileSync(keyFile), cert: readFileSync(caFile) };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Rig {
  readonly edge: MockEdge;
  readonly options: (more: Partial<ConnectOptions>) => ConnectOptions;
  readonly connect: (more: Partial<ConnectOptions>) => Promise<Tunnel>;
}

async function withMockEdge(
  protocol: EdgeProtocol,
  run: (rig: Rig) => Promise<void>,
  edgeOptions: MockEdgeOptions = {},
): Promise<void> {
  const edge = await startMockEdge(edgeOptions);
  const tunnels: Tunnel[] = [];
  const options: Rig["options"] = (more) => ({
    token: edge.issueToken(),
    edge: edge.edgeAddress,
    cacert: edge.caPem,
    haConnections: 1,
    protocol,
    metrics: 0,
    healthCheck: false,
    ...more,
  });
  try {
    await run({
      edge,
      options,
      connect: async (more) => {
        const tunnel = await connect(options(more));
        tunnels.push(tunnel);
        await edge.registered(1);
        return tunnel;
      },
    });
  } finally {
    await Promise.all(tunnels.map((tunnel) => tunnel.close({ grace: 0 })));
    await edge.close();
  }
}

const browser = { headers: { accept: "text/html,*/*;q=0.8" } };
const metricsOf = async ({ metricsUrl }: Tunnel): Promise<string> =>
  (await fetch(new URL("/metrics", metricsUrl))).text();

describe.concurrent.each(["http2", "quic"] as const)("over %s", (protocol) => {
  const withEdge = (run: (rig: Rig) => Promise<void>, options?: MockEdgeOptions) =>
    withMockEdge(protocol, run, options);

  describe.concurrent("rules from Cloudflare", () => {
    it("take over from none: 503 until they come, handlers by name, an event, a metric", () =>
      withEdge(async ({ edge, connect: start }) => {
        const tunnel = await start({ ingress: "remote", handlers: { app: () => new Response("from the handler") } });
        const events: unknown[] = [];
        tunnel.on("configuration", (...args) => events.push(args));
        expect((await edge.fetch("/")).status).toBe(503);
        const [result] = await edge.pushConfiguration(3, {
          ingress: [{ hostname: "app.example.com", service: "handler:app" }, { service: "http_status:404" }],
        });
        expect(result).toMatchObject({ status: 200, lastAppliedVersion: 3, error: null });
        const answer = await edge.fetch("https://app.example.com/");
        expect([answer.status, await answer.text()]).toEqual([200, "from the handler"]);
        expect((await edge.fetch("https://other.example.com/")).status).toBe(404);
        expect(events).toEqual([[3, "remote"]]);
        await edge.pushConfiguration(4, { ingress: [{ service: "gopher://x" }] });
        const shown = await (await fetch(new URL("/config", tunnel.metricsUrl))).json();
        expect(shown).toMatchObject({
          version: 3,
          config: {
            ingress: [
              { hostname: "app.example.com", path: null, service: "in-process:fetch" },
              { hostname: "", path: null, service: "http_status:404", originRequest: { connectTimeout: 30 } },
            ],
            "warp-routing": {},
          },
          lastError: expect.stringMatching(/gopher/),
        });
        const metrics = await metricsOf(tunnel);
        expect(metrics).toMatch(/^cloudflared_orchestration_config_version 3$/m);
        expect(metrics).toMatch(/^underpass_request_outcomes_total\{outcome="no-origin"\} 1$/m);
      }));

    it("may name files of this machine; what is wrong with one is told as text, and the last good one stays", () =>
      withEdge(async ({ edge, connect: start }) => {
        const server = https.createServer(serverOptions, (_request, response) => response.end("over TLS"));
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        try {
          await start({ ingress: "remote" });
          const service = `https://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
          const push = async (version: number, caPool: string) =>
            (await edge.pushConfiguration(version, { ingress: [{ service, originRequest: { caPool } }] }))[0];
          expect(await push(1, caFile)).toMatchObject({ lastAppliedVersion: 1, error: null });
          expect(await (await edge.fetch("/")).text()).toBe("over TLS");
          const missing = join(folder, "none.pem");
          expect(await push(2, missing)).toMatchObject({
            lastAppliedVersion: 1,
            error: expect.stringContaining(`can't read ${missing}: no such file`),
          });
          const notPem = join(folder, "not.pem");
          writeFileSync(notPem, "nothing of the kind");
          expect(await push(2, notPem)).toMatchObject({
            lastAppliedVersion: 1,
            error: expect.stringMatching(/caPool: /),
          });
          expect(await (await edge.fetch("/")).text()).toBe("over TLS");
        } finally {
          server.closeAllConnections();
          server.close();
        }
      }));

    it("are not for quick tunnels", () => {
      expect(() => readOptions({ ingress: "remote" })).toThrow(/a quick tunnel has no rules at Cloudflare/);
    });
  });

  describe.concurrent("rules of the program", () => {
    it("go by host and path, to URLs, statuses and handlers", () =>
      withEdge(async ({ edge, connect: start }) => {
        await start({
          ingress: [
            { hostname: "*.example.com", path: "^/api", service: () => new Response("api") },
            { hostname: "named.example.com", service: "handler:named" },
            { service: "http_status:404" },
          ],
          handlers: { named: (_request, response) => response.end("named") },
        });
        const texts = async (url: string): Promise<string> => (await edge.fetch(url)).text();
        expect(await texts("https://x.example.com/api/1")).toBe("api");
        expect(await texts("https://named.example.com/")).toBe("named");
        expect((await edge.fetch("https://x.example.com/")).status).toBe(404);
      }));

    it("are none for the private network, whose DNS address stands for the program's resolvers", () =>
      withEdge(async ({ edge, connect: start }) => {
        const resolver = net.createServer((socket) => socket.end("an answer"));
        resolver.listen(0, "127.0.0.1");
        await once(resolver, "listening");
        try {
          const { port } = resolver.address() as net.AddressInfo;
          await start({ origin: "http_status:404", dnsResolvers: [`127.0.0.1:${port}`] });
          const stream = edge.openStream({
            authority: "[2606:4700:cf1:2000::1]:53",
            fields: [["cf-cloudflared-proxy-src", "192.0.2.1"]],
          });
          expect((await stream.head).status).toBe(200);
          stream.end("query");
          expect((await stream.toArray()).join("")).toBe("an answer");
        } finally {
          resolver.close();
        }
      }));

    it("are replaced while the tunnel runs, and the edge is told", () =>
      withEdge(
        async ({ edge, options }) => {
          const { config, runtime } = readOptions(options({ origin: "http_status:410", maxActiveFlows: 5 }));
          const tunnel = startTunnel(config, runtime);
          try {
            await edge.registered(1);
            expect((await edge.fetch("/")).status).toBe(410);
            const other = singleService({ kind: "status", status: 418 }, defaultOriginRequest);
            expect(tunnel.updateIngress(other)).toEqual({ result: "applied" });
            expect((await edge.fetch("/")).status).toBe(418);
            await vi.waitFor(() => expect(edge.localConfigurations).toHaveLength(2), { timeout: 5_000 });
            expect(edge.localConfigurations.map(({ config: text }) => JSON.parse(text) as unknown)).toMatchObject([
              { ingress: [{ service: "http_status:410" }], __configuration_flags: { "max-active-flows": "5" } },
              { ingress: [{ service: "http_status:418" }], "warp-routing": { maxActiveFlows: 5 } },
            ]);
            await edge.pushConfiguration(0, {});
            expect(tunnel.updateIngress(other)).toMatchObject({ result: "refused" });
            tunnel.reloadFailed();
            const metrics = await metricsOf(tunnel);
            for (const result of ["applied", "refused", "failed"])
              expect(metrics).toContain(`underpass_config_reloads_total{result="${result}"} 1\n`);
          } finally {
            await tunnel.close({ grace: 0 });
          }
        },
        { remotelyManaged: false },
      ));
  });

  describe.concurrent("the error page", () => {
    it("reaches browsers through the edge, which makes a page of its own for others", () =>
      withEdge(async ({ edge, connect: start }) => {
        const errorPage = join(folder, "down.html");
        writeFileSync(errorPage, "<h1>Down for a moment</h1>");
        await start({ origin: "http://127.0.0.1:1", errorPage });
        const page = await edge.fetch("/", browser);
        expect([page.status, await page.text()]).toEqual([502, "<h1>Down for a moment</h1>"]);
        expect([page.headers.get("content-type"), page.headers.get("cache-control")]).toEqual([
          "text/html; charset=utf-8",
          "no-store",
        ]);
        const program = await edge.fetch("/", { headers: { accept: "*/*" } });
        expect(program.status).toBe(502);
        expect(await program.text()).not.toContain("Down for a moment");
      }));

    it("that can't be read is an error of the option", () => {
      expect(() => readOptions({ origin: "http://localhost:1", errorPage: join(folder, "none.html") })).toThrow(
        ConfigError,
      );
      expect(() => readOptions({ origin: "http://localhost:1", errorPage: join(folder, "none.html") })).toThrow(
        /^errorPage: can't read .*no such file/,
      );
    });
  });
});
