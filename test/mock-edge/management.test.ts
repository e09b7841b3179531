/** The entrance for `tail` and the dashboard: which connector a request meets, and who is let in. */
import { once } from "node:events";
import https from "node:https";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connect, type Tunnel } from "../../src/index.ts";
import { type IssuedTunnel, type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { makeToken } from "../health/management/make-token.ts";

let edge: MockEdge;
let issued: IssuedTunnel;
const tunnels: Tunnel[] = [];

beforeAll(async () => {
  edge = await startMockEdge();
  issued = edge.issueTunnel();
  for (const protocol of ["http2", "quic"] as const) {
    tunnels.push(
      await connect({
        token: issued.token,
        edge: [edge.edgeAddress],
        cacert: edge.caPem,
        protocol,
        origin: { fetch: () => new Response("origin") },
      }),
    );
  }
});

afterAll(async () => {
  await Promise.all(tunnels.map((tunnel) => tunnel.close({ grace: 0 })));
  await edge.close();
});

async function get(path: string): Promise<[status: number, body: string]> {
  const request = https.get(`https://${edge.managementHost}${path}`, { ca: edge.caPem, agent: false });
  const [response] = (await once(request, "response")) as [import("node:http").IncomingMessage];
  let body = "";
  for await (const chunk of response) body += String(chunk);
  return [response.statusCode ?? 0, body];
}

it("leads to the connector that connector_id names", async () => {
  const token = edge.issueManagementToken(issued.tunnelId);
  for (const { connectorId } of tunnels) {
    const [status, body] = await get(`/host_details?access_token=${token}&connector_id=${connectorId}`);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ connector_id: connectorId });
  }
  const [status, body] = await get(`/ping?access_token=${token}&connector_id=${issued.tunnelId}`);
  expect([status, body]).toEqual([530, expect.stringContaining("1033")]);
});

it("answers 530 for a tunnel without a connector", async () => {
  const other = edge.issueTunnel();
  expect((await get(`/ping?access_token=${edge.issueManagementToken(other.tunnelId)}`))[0]).toBe(530);
});

it("lets nobody in whose token it has not signed; an expired one is the connector's to refuse", async () => {
  const { accountTag, tunnelId } = issued;
  for (const token of ["", "x", makeToken({ tunnelId, accountTag })]) {
    expect((await get(`/ping?access_token=${token}`))[0]).toBe(403);
  }
  const expired = edge.issueManagementToken(tunnelId, { expiresInSeconds: -3600 });
  expect(await get(`/ping?access_token=${expired}`)).toEqual([403, expect.stringContaining("has expired")]);
  expect(() => edge.issueManagementToken("nothing")).toThrow(/has issued no tunnel/);
});
