/** The management service through a whole tunnel, over each transport: a WebSocket client speaks the protocol of `tail`. */
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { LogRecord } from "../../src/health/management/log-tap.ts";
import { readLogs } from "../../src/health/management/messages.ts";
import type { RequestOutcome } from "../../src/types.ts";
import { makeToken } from "../health/management/make-token.ts";
import { type Rig, startRig } from "./start.ts";

const HOST = "management.argotunnel.com";

let rig: Rig;
const clients: WebSocket[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  await rig.stop();
});

function tokenOf({ edge, tunnel }: Rig, actor = "me"): string {
  const accountTag = edge.registrations[0]?.accountTag ?? "";
  return makeToken({ tunnelId: tunnel.tunnelId ?? "", accountTag, actor });
}

/** Opens the log and starts streaming; entries are waited for by `until`. */
async function follow(filters: object = {}) {
  const url = `${rig.edge.publicUrl.replace("http", "ws")}/logs?access_token=${tokenOf(rig)}`;
  const client = new WebSocket(url, { headers: { host: HOST } });
  clients.push(client);
  const records: LogRecord[] = [];
  client.on("message", (data: Buffer) => records.push(...(readLogs(data.toString()) ?? [])));
  await once(client, "open");
  client.send(JSON.stringify({ type: "start_streaming", filters }));
  const until = async (message: string): Promise<LogRecord> => {
    for (;;) {
      const found = records.find((record) => record.message === message);
      if (found !== undefined) return found;
      await once(client, "message");
    }
  };
  return { client, records, until };
}

const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
  rig.edge.fetch(`https://${HOST}${path}?access_token=${tokenOf(rig)}`, init);

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  const start = async (more: object = {}): Promise<void> => {
    rig = await startRig({
      protocol,
      haConnections: 2,
      requestLog: "off",
      origin: { fetch: () => new Response("from the origin") },
      ...more,
    });
  };

  it("streams the log, requests too where their lines are off", async () => {
    await start();
    const { records, until } = await follow({ events: ["http"] });
    // Streaming has begun once the first entry comes: the request is repeated until then.
    const seen = until("Request served");
    const found = { yet: false };
    void seen.then(() => (found.yet = true));
    while (!found.yet) {
      const response = await rig.edge.fetch("https://app.example.com/path?secret=1");
      expect(await response.text()).toBe("from the origin");
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await seen).toMatchObject({
      level: "debug",
      event: "http",
      fields: { outcome: "ok", kind: "http", host: "app.example.com", path: "/path", status: 200 },
    });
    expect(records.every(({ event }) => event === "http")).toBe(true);
  });

  it("answers /ping, /host_details and /metrics, and no other request is kept from its rule", async () => {
    await start({ management: { label: "attic" } });
    expect((await ask("/ping")).status).toBe(200);
    expect(await (await ask("/host_details")).json()).toMatchObject({
      connector_id: rig.tunnel.connectorId,
      hostname: "custom:attic",
    });
    expect(await (await ask("/metrics")).text()).toContain("cloudflared_tunnel_ha_connections 2");
    expect((await rig.edge.fetch(`https://${HOST}/ping`)).status).toBe(400);
    for (const host of [`${HOST.toUpperCase()}:443`, `${HOST}.`, `${HOST}.:443`]) {
      expect((await rig.edge.fetch(`https://${host}/ping`)).status).toBe(400);
    }
    for (const host of [`x.${HOST}`, "argotunnel.com", `${HOST}.example`]) {
      expect(await (await rig.edge.fetch(`https://${host}/ping`)).text()).toBe("from the origin");
    }
  });

  it("tells nobody the access token that a request came with", async () => {
    const outcomes: RequestOutcome[] = [];
    await start();
    rig.tunnel.on("request", (outcome) => outcomes.push(outcome));
    await (await ask("/ping")).text();
    expect(outcomes).toMatchObject([{ path: "/ping", ingressRule: -1, class: "ok" }]);
  });

  it("is there for one client after another", async () => {
    await start();
    for (let count = 0; count < 40; count++) {
      const { client } = await follow();
      client.close();
      await once(client, "close");
    }
  });

  it("ends with the tunnel, which does not wait for it", async () => {
    await start();
    const { client } = await follow();
    const closed = once(client, "close");
    await rig.tunnel.close({ grace: 60_000 });
    expect((await closed)[0]).toBe(1001);
  });

  it("is not there when it is turned off: requests for its name are like others", async () => {
    await start({ management: false });
    expect(await (await ask("/ping")).text()).toBe("from the origin");
    expect(rig.edge.registrations[0]?.features).not.toContain("management_logs");
  });
});
