/** An edge of several hosts that go and come again, and the connections that this costs. */
import { once } from "node:events";
import net from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import type { Connection, MockEdge, StreamRequest } from "../../src/mock-edge/index.ts";
import { freePort } from "../ports.ts";
import { start } from "./start.ts";

/** Other addresses of 127/8 are there without being set up on Linux alone. */
const hosts = process.platform === "linux" ? ["127.0.0.1", "127.0.0.2"] : ["127.0.0.1"];

async function tunnelTo(edge: MockEdge, protocol: "http2" | "quic", errors: string[]): Promise<Tunnel> {
  const port = edge.edgeAddress.split(":").at(-1);
  const note = (message: string, fields?: object): void => {
    if (message.startsWith("Lost connection")) errors.push(JSON.stringify(fields));
  };
  const options: ConnectOptions = {
    token: edge.issueToken(),
    edge: hosts.map((host) => `${host}:${port}`),
    cacert: edge.caPem,
    origin: async (request: Request) => {
      await request.text();
      return new Response("served");
    },
    protocol,
    haConnections: hosts.length,
    healthCheck: false,
    logger: { debug: note, info: note, warn: note, error: note },
  };
  const tunnel = await connect(options);
  onTestFinished(() => tunnel.close({ grace: 0 }));
  await edge.registered(hosts.length);
  return tunnel;
}

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  it("a host that stops takes its connections with it; it takes them again on the same port", async () => {
    const edge = await start({ edgeHosts: hosts, edgePort: await freePort() });
    await tunnelTo(edge, protocol, []);
    expect(edge.connections.map(({ host }) => host).sort()).toEqual(hosts);
    const [first = ""] = hosts;
    const address = edge.edgeAddress;
    const gone = edge.connections.filter(({ host }) => host === first);
    await edge.stopListening(first);
    expect(gone.map(({ state }) => state)).toEqual(["closed"]);
    await edge.listenAgain(first);
    expect(edge.edgeAddress).toBe(address);
    await edge.registered(hosts.length);
    expect(await (await fetch(edge.publicUrl)).text()).toBe("served");
  });

  it.each(["drop", "reset", "close"] as const)("%s ends the visits that are under way", async (how) => {
    const edge = await start({ edgeHosts: hosts });
    await tunnelTo(edge, protocol, []);
    const { hostname } = new URL(edge.publicUrl);
    const stream = edge.openStream({ authority: hostname, method: "POST" }, { connIndex: 0 });
    const refused = stream.head.then(
      () => "answered",
      ({ message }: Error) => message,
    );
    edge.connections.find(({ registration }) => registration?.connIndex === 0)?.[how]();
    expect(await refused).toBe("the connector's connection is gone");
  });

  it("reset tells the connector at once", async () => {
    const edge = await start({ edgeHosts: hosts });
    const errors: string[] = [];
    await tunnelTo(edge, protocol, errors);
    const [connection] = edge.connections;
    connection?.reset();
    await connection?.closed;
    // Over QUIC it is told when it speaks next.
    await edge.until(() => errors.length > 0 || edge.connections.length === hosts.length);
    await expect.poll(() => errors.join("\n")).toMatch(protocol === "http2" ? /ECONNRESET/ : /reset/i);
  });
});

it("a TCP connection that is held is neither read nor closed, until the edge is", async () => {
  const edge = await start();
  edge.fail({ kind: "hold-at-accept" });
  const [host = "", port = ""] = edge.edgeAddress.split(":");
  const held = net.connect({ host, port: Number(port) });
  await once(held, "connect");
  const next = await connect({
    token: edge.issueToken(),
    edge: edge.edgeAddress,
    cacert: edge.caPem,
    protocol: "http2",
    haConnections: 1,
    origin: () => new Response("ok"),
    healthCheck: false,
  });
  expect([held.bytesRead, held.readyState]).toEqual([0, "open"]);
  await next.close();
  held.resume();
  await Promise.all([once(held, "close"), edge.close()]);
});

it("onVisit tells which connection takes which visitor", async () => {
  const visits: { request: StreamRequest; connection: Connection | undefined }[] = [];
  const edge = await start({
    edgeHosts: hosts,
    onVisit: (request, connection) => visits.push({ request, connection }),
  });
  await fetch(`${edge.publicUrl}/before`);
  await tunnelTo(edge, "http2", []);
  await fetch(`${edge.publicUrl}/after`);
  expect(visits.map(({ request: { path } }) => path)).toEqual(["/before", "/after"]);
  expect(visits[0]?.connection).toBeUndefined();
  expect(edge.connections).toContain(visits[1]?.connection);
});
