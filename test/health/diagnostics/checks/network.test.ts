import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { originsOf } from "../../../../src/health/diagnostics/checks/origin-checks.ts";
import { networkPeers, type NetworkOptions } from "../../../../src/health/diagnostics/checks/network.ts";
import { runChecks } from "../../../../src/health/diagnostics/checks/run-checks.ts";
import type { CheckReport } from "../../../../src/health/diagnostics/checks/assess.ts";
import { startMockEdge, type MockEdgeOptions } from "../../../../src/mock-edge/index.ts";
import { parseIngress } from "../../../../src/proxy/ingress/parse.ts";
import type { CheckPlan } from "../../../../src/health/diagnostics/checks/types.ts";
import { find, plan, statuses } from "./fake-peers.ts";
import { closedPort } from "../../../ports.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function closing(server: Server, sockets: Set<Socket> = new Set()): void {
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
}

async function web(listener: RequestListener, path?: string): Promise<number> {
  const server = createHttpServer(listener);
  if (path === undefined) server.listen(0, "127.0.0.1");
  else server.listen(path);
  await once(server, "listening");
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return path === undefined ? (server.address() as AddressInfo).port : 0;
}

async function tcp(onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing(server, sockets);
  return (server.address() as AddressInfo).port;
}

function network(options: Partial<NetworkOptions> = {}): ReturnType<typeof networkPeers> {
  return networkPeers({
    cacert: undefined,
    edgeBindAddress: undefined,
    edgeProxy: undefined,
    postQuantum: false,
    userAgent: "underpass/test",
    environment: {},
    originRoots: () => [],
    ...options,
  });
}

async function checkEdge(options: MockEdgeOptions, trusted = true): Promise<CheckReport> {
  const edge = await startMockEdge(options);
  closers.push(() => edge.close());
  const quick = new URL(edge.quickUrl);
  const target = plan({ edge: [edge.edgeAddress], api: quick, quickService: quick, needsQuickService: true });
  return runChecks(target, network(trusted ? { cacert: edge.caPem } : {}));
}

describe("over the real network, against the mock edge", () => {
  it("both transports, the quick service and the clock are found well", async () => {
    const report = await checkEdge({});
    expect(statuses(report.checks)).toEqual({
      clock: "ok",
      "udp.edge1.ipv4": "ok",
      "tcp.edge1.ipv4": "ok",
      "proxy.environment": "skipped",
      api: "ok",
      "quick-service": "ok",
      origin: "skipped",
    });
    expect(find(report.checks, "udp.edge1.ipv4").details).toContain("quic.cftunnel.com");
    expect(find(report.checks, "tcp.edge1.ipv4").details).toContain("h2.cftunnel.com");
  });

  it.each(["expired", "wrong-name", "untrusted"] as const)(
    "a certificate that is %s is not taken",
    async (certificate) => {
      const report = await checkEdge({ certificate });
      expect(report).toMatchObject({ ok: false, suggestedProtocol: undefined });
      expect(find(report.checks, "tcp.edge1.ipv4")).toMatchObject({
        status: "failed",
        code: "ERR_UNDERPASS_EDGE_HANDSHAKE",
        action: expect.stringContaining("intercepts TLS"),
      });
      expect(find(report.checks, "udp.edge1.ipv4")).toMatchObject({
        status: "failed",
        code: "ERR_UNDERPASS_EDGE_QUIC",
      });
    },
  );

  it("the edge's own authority is not taken without being named", async () => {
    const report = await checkEdge({}, false);
    expect(find(report.checks, "tcp.edge1.ipv4").code).toBe("ERR_UNDERPASS_EDGE_HANDSHAKE");
  });

  it("what takes the connection and does not speak TLS is told from what does not answer", async () => {
    const port = await tcp(() => {});
    const report = await runChecks(
      plan({ edge: [`127.0.0.1:${port}`], protocol: "http2", api: new URL("http://127.0.0.1:1") }),
      network(),
    );
    expect(find(report.checks, "tcp.edge1.ipv4")).toMatchObject({
      code: "ERR_UNDERPASS_EDGE_HANDSHAKE",
      details: expect.stringContaining("TLS handshake failed"),
      action: expect.stringContaining(`let port ${port} through`),
    });
  });

  it("nothing that listens is told as such", async () => {
    const port = await closedPort();
    const report = await runChecks(
      plan({ edge: [`127.0.0.1:${port}`], protocol: "http2", api: new URL("http://127.0.0.1:1") }),
      network(),
    );
    expect(find(report.checks, "tcp.edge1.ipv4")).toMatchObject({
      status: "failed",
      code: "ERR_UNDERPASS_EDGE_TCP",
      details: expect.stringContaining("ECONNREFUSED"),
    });
    expect(find(report.checks, "api")).toMatchObject({ status: "warning" });
  });
});

describe("a proxy of the environment", () => {
  const throughProxy = (port: number, credentials = ""): Promise<void> => {
    const authorization = credentials === "" ? undefined : `Basic ${Buffer.from(credentials).toString("base64")}`;
    const proxy = { address: { kind: "tcp", host: "127.0.0.1", port }, authorization, problem: undefined } as const;
    return network().throughProxy(proxy, "api.cloudflare.com", 443, new AbortController().signal);
  };

  it("is through once it has answered CONNECT", async () => {
    let head = "";
    const port = await tcp((socket) =>
      socket.on("data", (chunk: Buffer) => {
        head += chunk.toString();
        if (head.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\n\r\n");
      }),
    );
    await throughProxy(port, "a:b");
    expect(head).toContain("CONNECT api.cloudflare.com:443 HTTP/1.1\r\n");
    expect(head).toContain("Proxy-Authorization: Basic YTpi\r\n");
  });

  it("is the way to an edge that can't be reached directly", async () => {
    const edge = await startMockEdge();
    closers.push(() => edge.close());
    const asked: string[] = [];
    const [, edgePort] = edge.edgeAddress.split(":");
    const port = await tcp((socket) =>
      socket.once("data", (chunk: Buffer) => {
        asked.push(chunk.toString().split("\r\n")[0] ?? "");
        const onward = connect(Number(edgePort), "127.0.0.1", () => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n");
          socket.pipe(onward).pipe(socket);
        });
        onward.on("error", () => socket.destroy());
      }),
    );
    // Nobody's address, and no way there; no host of this machine's is asked for through a proxy.
    const report = await runChecks(
      plan({ edge: ["255.255.255.255:7844"], protocol: "http2", api: new URL("http://127.0.0.1:1") }),
      network({ cacert: edge.caPem, environment: { HTTPS_PROXY: `http://127.0.0.1:${port}` } }),
    );
    expect(find(report.checks, "tcp.edge1.ipv4")).toMatchObject({
      status: "ok",
      details: expect.stringContaining("through the proxy of HTTPS_PROXY"),
    });
    expect(asked).toEqual(["CONNECT 255.255.255.255:7844 HTTP/1.1"]);
  });

  it("is not, where it refuses", async () => {
    const port = await tcp((socket) => socket.once("data", () => socket.end("HTTP/1.1 407 No\r\n\r\n")));
    await expect(throughProxy(port)).rejects.toThrow(/the proxy 127\.0\.0\.1:\d+: .*status 407/);
  });
});

describe("origins", () => {
  async function check(services: readonly unknown[], more: Partial<CheckPlan> = {}): Promise<CheckReport> {
    const rules = services.map((service, index) => ({ hostname: `h${index}.example.com`, service }));
    const { ingress, problems } = parseIngress(
      { ingress: [...rules, { service: "http_status:404" }] },
      { readFile: String },
    );
    if (ingress === undefined) throw new Error(JSON.stringify(problems));
    const target = plan({ edge: ["127.0.0.1:1"], protocol: "http2", api: new URL("http://127.0.0.1:1"), ...more });
    return runChecks({ ...target, origins: originsOf(ingress.rules) }, network());
  }

  it("are asked for a head, and nothing else", async () => {
    const seen: string[] = [];
    const port = await web((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.host}`);
      response.writeHead(204).end();
    });
    const path = join(tmpdir(), `underpass-check-${process.pid}.sock`);
    await web((_request, response) => response.writeHead(503).end(), path);
    const url = `http://127.0.0.1:${port}`;
    const report = await check([url, url, `unix:${path}`, "hello_world", "bastion"]);
    const rows = report.checks.filter(({ component }) => component === "Origin");
    expect(rows.map(({ details, status, target }) => [target, status, details])).toEqual([
      [url, "ok", "answers HEAD / with 204"],
      [`unix:${path}`, "warning", "answers HEAD / with 503"],
    ]);
    expect(seen).toEqual([`HEAD / 127.0.0.1:${port}`]);
  });

  it("that don't work say why, each of a failover too", async () => {
    const plain = await web((_request, response) => response.end());
    const ssh = await tcp((socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n"));
    const closed = await tcp(() => {});
    await closers.pop()?.();
    const report = await check([
      `http://127.0.0.1:${closed}`,
      `https://127.0.0.1:${plain}`,
      `http://127.0.0.1:${ssh}`,
      `tcp://127.0.0.1:${ssh}`,
      [`http://127.0.0.1:${plain}`, `http://127.0.0.1:${closed}`],
    ]);
    expect(report.ok).toBe(false);
    const rows = report.checks.filter(({ component }) => component === "Origin");
    expect(rows.map(({ status, target }) => `${target} ${status}`)).toEqual([
      `http://127.0.0.1:${closed} failed`,
      `https://127.0.0.1:${plain} failed`,
      `http://127.0.0.1:${ssh} failed`,
      `tcp://127.0.0.1:${ssh} ok`,
      `http://127.0.0.1:${plain} ok`,
    ]);
    expect(rows[0]?.action).toContain("start the service");
    expect(rows[1]?.action).toContain("http:// if it is plain");
    expect(rows[2]?.details).toContain("does not answer in HTTP/1.1");
  });
});
