/** SessionManager both ways (wire § 9.3): the edge calls the connector, and the connector the edge. */
import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createCloudflaredClient } from "../../src/rpc/cloudflared-client.ts";
import {
  type CloudflaredHandlers,
  serveCloudflared,
  type UdpSessionRequest,
} from "../../src/rpc/cloudflared-server.ts";
import { serveSessions, type SessionHandlers } from "../../src/rpc/session-server.ts";
import { channelPair, ScriptedChannel } from "./channels.ts";
import { rpcError } from "./registration-fixtures.ts";

const options = { timeoutMs: 5000 };
const session: UdpSessionRequest = {
  sessionId: randomUUID(),
  dstIp: "192.0.2.1",
  dstPort: 53,
  closeAfterIdleMs: 210_000,
  traceContext: "a:b:0:1",
};

/** The edge's end of a stream that the connector serves. */
function toConnector(change: Partial<CloudflaredHandlers> = {}) {
  const [near, far] = channelPair(24);
  const server = serveCloudflared(far, {
    registerUdpSession: () => new Uint8Array(0),
    unregisterUdpSession: () => undefined,
    updateConfiguration: (version) => ({ lastAppliedVersion: version }),
    ...change,
  });
  return { client: createCloudflaredClient(near), server };
}

/** The connector's end of a stream that the edge serves. */
function toEdge(handlers: SessionHandlers) {
  const [near, far] = channelPair(24);
  return { client: createCloudflaredClient(near), server: serveSessions(far, handlers) };
}

describe("the edge calls the connector", () => {
  it("registers sessions, IPv4 and IPv6, and unregisters them, several on one stream", async () => {
    const seen: unknown[] = [];
    const { client, server } = toConnector({
      registerUdpSession(request) {
        seen.push(request);
        return Uint8Array.of(1, 2);
      },
      unregisterUdpSession: (id, message) => void seen.push([id, message]),
    });
    const v6 = { ...session, sessionId: randomUUID(), dstIp: "2001:db8::1", dstPort: 65_535, closeAfterIdleMs: 0 };
    for (const request of [session, v6])
      expect(await client.registerUdpSession(request, options)).toEqual({
        error: undefined,
        spans: Uint8Array.of(1, 2),
      });
    await client.unregisterUdpSession(session.sessionId, "session idle for 8s", options);
    expect(seen).toStrictEqual([session, v6, [session.sessionId, "session idle for 8s"]]);
    client.close();
    expect(await server.ended).toBeUndefined();
  });

  it("is told why there is no session, and gets an exception from what can't be unregistered", async () => {
    const { client } = toConnector({
      registerUdpSession: () => Promise.reject(new Error("too many active flows")),
      unregisterUdpSession() {
        throw new Error("datagram v3 does not support UnregisterUdpSession RPC");
      },
    });
    expect(await client.registerUdpSession(session, options)).toEqual({
      error: "too many active flows",
      spans: new Uint8Array(0),
    });
    const error = await rpcError(client.unregisterUdpSession(session.sessionId, "", options));
    expect(error.fault).toBe("exception");
    expect(error.message).toContain("datagram v3 does not support UnregisterUdpSession RPC");
  });

  it("pushes configurations", async () => {
    const { client } = toConnector({
      updateConfiguration: (version) =>
        version > 1 ? { lastAppliedVersion: 1, error: "no such service" } : { lastAppliedVersion: version },
    });
    const config = Buffer.from("{}");
    expect(await client.updateConfiguration(1, config, options)).toStrictEqual({ lastAppliedVersion: 1 });
    expect(await client.updateConfiguration(2, config, options)).toStrictEqual({
      lastAppliedVersion: 1,
      error: "no such service",
    });
  });

  it("refuses to send what is no session", async () => {
    const { client } = toConnector();
    const refused = [
      client.registerUdpSession({ ...session, sessionId: "one" }, options),
      client.registerUdpSession({ ...session, dstIp: "example.com" }, options),
      client.unregisterUdpSession("one", "", options),
    ];
    for (const call of refused) expect((await rpcError(call)).fault).toBe("argument");
  });
});

describe("the connector calls the edge", () => {
  it("a session has ended", async () => {
    const seen: unknown[] = [];
    const { client, server } = toEdge({ unregisterUdpSession: (id, message) => void seen.push([id, message]) });
    await client.unregisterUdpSession(session.sessionId, "EOF", options);
    expect(seen).toStrictEqual([[session.sessionId, "EOF"]]);
    // The edge registers sessions, and is not asked for any.
    expect((await rpcError(client.registerUdpSession(session, options))).message).toContain("not implemented");
    client.close();
    expect(await server.ended).toBeUndefined();
  });

  it("an edge that fails, or never answers", async () => {
    const { client: refused } = toEdge({ unregisterUdpSession: () => Promise.reject(new Error("no")) });
    expect((await rpcError(refused.unregisterUdpSession(session.sessionId, "", options))).message).toContain("no");
    const silent = createCloudflaredClient(new ScriptedChannel());
    const error = await rpcError(silent.unregisterUdpSession(session.sessionId, "", { timeoutMs: 20 }));
    expect(error.fault).toBe("timeout");
    silent.close();
  });
});
