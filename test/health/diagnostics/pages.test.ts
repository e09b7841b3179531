import { afterEach, describe, expect, it } from "vitest";
import { linuxMounts } from "../../../src/health/diagnostics/system-information.ts";
import { type DiagnosticState, readTunnelState } from "../../../src/health/diagnostics/tunnel-state.ts";
import { type MetricsServer, startMetricsServer } from "../../../src/health/server.ts";

const CONNECTOR = "99999999-8888-4777-8666-555555555555";
const TUNNEL = "11111111-2222-4333-8444-555555555555";

let server: MetricsServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

function connection(connIndex: number, more: object = {}): ReturnType<DiagnosticState["connections"]>[number] {
  return {
    connIndex,
    state: "registered",
    protocol: "quic",
    edgeAddress: `198.41.192.${connIndex + 1}:7844`,
    connectionId: undefined,
    location: "lhr01",
    ...more,
  };
}

async function get(path: string, more: Partial<DiagnosticState> = {}): Promise<{ status: number; text: string }> {
  server = await startMetricsServer(
    { kind: "address", host: "127.0.0.1", port: 0 },
    {
      connectorId: CONNECTOR,
      health: () => ({ state: "degraded", reasons: ["why"], readyConnections: 1, wantedConnections: 4 }),
      quickHostname: () => "",
      configuration: () => "{}",
      metrics: () => "",
      diagnostics: {
        version: "1.2.3",
        tunnelId: () => TUNNEL,
        connections: () => [],
        icmpSources: () => [],
        settings: { retries: "9" },
        ...more,
      },
    },
  );
  const response = await fetch(`${server.url}${path}`);
  return { status: response.status, text: await response.text() };
}

describe("/diag/tunnel", () => {
  it("has cloudflared's shape: registered connections alone, zeros left out", async () => {
    const connections = [
      connection(0, { protocol: "http2" }),
      connection(1),
      connection(2, { state: "waiting" }),
      connection(3, { edgeAddress: "[2606:4700:a0::7]:7844" }),
    ];
    const { text } = await get("/diag/tunnel", { connections: () => connections, icmpSources: () => ["192.0.2.7"] });
    const { underpass, ...shape } = JSON.parse(text) as Record<string, unknown>;
    expect(shape).toEqual({
      tunnelID: TUNNEL,
      connectorID: CONNECTOR,
      connections: [
        { isConnected: true, edgeAddress: "198.41.192.1" },
        { isConnected: true, protocol: 1, edgeAddress: "198.41.192.2", index: 1 },
        { isConnected: true, protocol: 1, edgeAddress: "2606:4700:a0::7", index: 3 },
      ],
      icmp_sources: ["192.0.2.7"],
    });
    expect(underpass).toMatchObject({ version: "1.2.3", pid: process.pid });
    expect(readTunnelState(text)).toEqual({
      tunnelId: TUNNEL,
      connectorId: CONNECTOR,
      active: 3,
      wanted: 4,
      pid: process.pid,
      state: "degraded",
      reasons: ["why"],
    });
  });

  it("leaves out what is empty, and has a UUID before the tunnel has one", async () => {
    const { text } = await get("/diag/tunnel", { tunnelId: () => undefined });
    expect(Object.keys(JSON.parse(text) as object)).toEqual(["tunnelID", "connectorID", "underpass"]);
    expect(text).toContain('"tunnelID":"00000000-0000-0000-0000-000000000000"');
  });

  it.each([
    ["no JSON", "<html>"],
    ["null", "null"],
    ["another program's JSON", '{"status":"ok"}'],
    ["an id that is none", '{"tunnelID":"x","connectorID":"y"}'],
    ["one id that is none", `{"tunnelID":"\\u001b[2J","connectorID":"${CONNECTOR}"}`],
  ])("is not mistaken for %s", (_name, text) => {
    expect(readTunnelState(text)).toBeUndefined();
  });

  it("of cloudflared is read without what it does not tell", () => {
    const text = `{"tunnelID":"${TUNNEL}","connectorID":"${CONNECTOR}","connections":[{"isConnected":true}]}`;
    expect(readTunnelState(text)).toEqual({
      tunnelId: TUNNEL,
      connectorId: CONNECTOR,
      active: 1,
      wanted: undefined,
      pid: undefined,
      state: undefined,
      reasons: [],
    });
  });
});

describe("the other pages below /diag/", () => {
  it("configuration: what was chosen, and the user's id", async () => {
    const { text } = await get("/diag/configuration");
    expect(JSON.parse(text)).toEqual({ retries: "9", uid: String(process.getuid?.() ?? -1) });
  });

  it("system: cloudflared's keys, in kB", async () => {
    const { info, errors } = JSON.parse((await get("/diag/system")).text) as {
      info: Record<string, unknown>;
      errors: unknown;
    };
    expect(errors).toEqual({});
    expect(info).toMatchObject({
      memoryMaximum: expect.any(Number),
      memoryCurrent: expect.any(Number),
      osSystem: expect.stringMatching(/./),
      hostName: expect.any(String),
      osVersion: expect.any(String),
      osRelease: expect.any(String),
      architecture: expect.any(String),
      cloudflaredVersion: "1.2.3",
      goVersion: `node ${process.version}`,
      goArch: process.arch,
    });
    expect(Number(info["memoryCurrent"])).toBeLessThan(Number(info["memoryMaximum"]));
    for (const disk of info["disk"] as Record<string, unknown>[]) {
      expect(disk).toEqual({
        name: expect.any(String),
        sizeMaximum: expect.any(Number),
        sizeCurrent: expect.any(Number),
      });
    }
  });

  it("process: numbers, and nothing of the environment", async () => {
    process.env["UNDERPASS_TEST_MARK"] = "a-mark-that-nobody-may-see";
    try {
      const { text } = await get("/diag/process");
      expect(JSON.parse(text)).toMatchObject({ pid: process.pid, memory: { rss: expect.any(Number) } });
      expect(text).not.toContain("a-mark-that-nobody-may-see");
    } finally {
      delete process.env["UNDERPASS_TEST_MARK"];
    }
  });

  it("no others, and none without a state to tell", async () => {
    expect((await get("/diag/")).status).toBe(404);
    await server?.close();
    server = await startMetricsServer(
      { kind: "address", host: "127.0.0.1", port: 0 },
      {
        connectorId: CONNECTOR,
        health: () => ({ state: "degraded", reasons: ["why"], readyConnections: 1, wantedConnections: 4 }),
        quickHostname: () => "",
        configuration: () => "{}",
        metrics: () => {
          throw new Error("a defect");
        },
      },
    );
    expect((await fetch(`${server.url}/diag/tunnel`)).status).toBe(404);
    // A defect of a page is no defect of the tunnel.
    expect((await fetch(`${server.url}/metrics`)).status).toBe(500);
  });
});

describe("mounts", () => {
  it("are devices and the root, each device once", () => {
    const mounts = [
      "overlay / overlay rw 0 0",
      "proc /proc proc rw 0 0",
      "/dev/sda1 /etc/hosts ext4 rw 0 0",
      "/dev/sda1 /etc/hostname ext4 rw 0 0",
      "/dev/sdb1 /mnt/a\\040b ext4 rw 0 0",
      "",
    ];
    expect(linuxMounts(mounts.join("\n"))).toEqual([
      { device: "overlay", path: "/" },
      { device: "/dev/sda1", path: "/etc/hosts" },
      { device: "/dev/sdb1", path: "/mnt/a b" },
    ]);
  });
});
