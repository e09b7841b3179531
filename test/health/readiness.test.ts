/** What probes of an orchestrator see while a tunnel starts, serves, and loses the edge. */
import { afterEach, expect, it } from "vitest";
import { connect, type Tunnel } from "../../src/index.ts";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { freePort } from "../ports.ts";

let tunnel: Tunnel | undefined;
afterEach(() => tunnel?.close({ grace: 0 }));

it("/ready goes from 503 to 200 and back with the connections, /live is 200 all the time", async () => {
  const edge = await startMockEdge();
  // The first registration waits until it has been looked at.
  edge.fail({ kind: "delay", ms: 1_000 });
  const port = await freePort();
  const seen = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    const { readyConnections } = (await response.json()) as { readyConnections: number };
    return [response.status, readyConnections, response.headers.get("underpass-state")];
  };
  const connecting = connect({
    token: edge.issueToken(),
    origin: { fetch: () => new Response("x") },
    edge: [edge.edgeAddress, edge.edgeAddress],
    haConnections: 2,
    cacert: edge.caPem,
    metrics: port,
  });
  await expect.poll(() => seen("/ready").catch(() => undefined), { timeout: 5_000 }).toEqual([503, 0, "starting"]);
  expect(await seen("/live")).toEqual([200, 0, "starting"]);

  tunnel = await connecting;
  await edge.registered(2);
  await expect.poll(() => seen("/ready"), { timeout: 5_000 }).toEqual([200, 2, "ready"]);
  expect([await seen("/live"), tunnel.state]).toEqual([[200, 2, "ready"], "ready"]);

  await edge.close();
  await expect.poll(() => seen("/ready"), { timeout: 10_000 }).toEqual([503, 0, "down"]);
  expect(await seen("/live")).toEqual([200, 0, "down"]);
  expect(await (await fetch(`http://127.0.0.1:${port}/healthcheck`)).text()).toBe("OK\n");
}, 30_000);
