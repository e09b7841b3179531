import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { RegisterUdpSessionParams } from "../../src/protocol/capnp/session.ts";
import {
  type CloudflaredHandlers,
  serveCloudflared,
  type UdpSessionRequest,
} from "../../src/rpc/cloudflared-server.ts";
import { RpcConnection } from "../../src/rpc/connection.ts";
import { registerUdpSession, unregisterUdpSession, updateConfiguration } from "../../src/rpc/methods.ts";
import { uuidToBytes } from "../../src/rpc/uuid.ts";
import { channelPair } from "./channels.ts";
import { rpcError } from "./registration-fixtures.ts";

const options = { timeoutMs: 5000 };
const sessionId = randomUUID();
const session: RegisterUdpSessionParams = {
  sessionId: uuidToBytes(sessionId) ?? new Uint8Array(0),
  dstIp: Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]),
  dstPort: 53,
  closeAfterIdleHint: 210_000_000_000n,
  traceContext: "trace",
};

/** The edge's end, of a stream that the connector serves. */
function open(change: Partial<CloudflaredHandlers> = {}) {
  const [near, far] = channelPair(24);
  const server = serveCloudflared(far, {
    registerUdpSession: () => new Uint8Array(0),
    unregisterUdpSession: () => undefined,
    updateConfiguration: (version) => ({ lastAppliedVersion: version }),
    ...change,
  });
  return { edge: new RpcConnection(near, []), server };
}

describe("calls of the edge", () => {
  it("registerUdpSession: the request, with 4 or 16 bytes of address, and spans back", async () => {
    const seen: UdpSessionRequest[] = [];
    const { edge } = open({
      registerUdpSession(request) {
        seen.push(request);
        return Uint8Array.from([1, 2, 3]);
      },
    });
    const short = { ...session, dstIp: Uint8Array.from([192, 0, 2, 1]) };
    for (const params of [session, short])
      expect(await edge.call(registerUdpSession, params, options)).toStrictEqual({
        result: { err: "", spans: Uint8Array.from([1, 2, 3]) },
      });
    const request = { sessionId, dstIp: "192.0.2.1", dstPort: 53, closeAfterIdleMs: 210_000, traceContext: "trace" };
    expect(seen).toStrictEqual([request, request]);
  });

  it("registerUdpSession: what fails stands in the result, and is no exception", async () => {
    const { edge } = open({
      registerUdpSession() {
        throw new Error("unable to create UDP socket");
      },
    });
    const failed = async (params: RegisterUdpSessionParams): Promise<string> =>
      (await edge.call(registerUdpSession, params, options)).result.err;
    expect(await failed(session)).toBe("unable to create UDP socket");
    expect(await failed({ ...session, dstIp: new Uint8Array(5) })).toBe("dstIp is 5 bytes long, expected 4 or 16");
    expect(await failed({ ...session, sessionId: new Uint8Array(3) })).toBe("sessionId is 3 bytes long, expected 16");
    const { edge: silent } = open({ registerUdpSession: () => Promise.reject(new Error()) });
    expect((await silent.call(registerUdpSession, session, options)).result.err).toBe("unknown error");
  });

  it("unregisterUdpSession", async () => {
    const seen: unknown[] = [];
    const { edge } = open({ unregisterUdpSession: (id, message) => void seen.push([id, message]) });
    await edge.call(unregisterUdpSession, { sessionId: session.sessionId, message: "idle" }, options);
    expect(seen).toStrictEqual([[sessionId, "idle"]]);
    const error = await rpcError(
      edge.call(unregisterUdpSession, { sessionId: new Uint8Array(1), message: "" }, options),
    );
    expect(error.message).toContain("sessionId is 1 bytes long");
  });

  it("updateConfiguration: applied, and refused with a reason", async () => {
    const seen: unknown[] = [];
    const { edge, server } = open({
      updateConfiguration(version, config) {
        seen.push(JSON.parse(Buffer.from(config).toString()));
        return version > 1 ? { lastAppliedVersion: 1, error: "no such service" } : { lastAppliedVersion: version };
      },
    });
    const config = Buffer.from('{"ingress":[{"service":"http_status:404"}]}');
    expect(await edge.call(updateConfiguration, { version: 1, config }, options)).toStrictEqual({
      result: { latestAppliedVersion: 1, err: "" },
    });
    expect(await edge.call(updateConfiguration, { version: 2, config }, options)).toStrictEqual({
      result: { latestAppliedVersion: 1, err: "no such service" },
    });
    expect(seen).toStrictEqual([JSON.parse(config.toString()), JSON.parse(config.toString())]);
    edge.close();
    expect(await server.ended).toBeUndefined();
  });

  it("run side by side, and are told when the stream is closed over them", async () => {
    let told = 0;
    const { edge, server } = open({
      registerUdpSession: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            told++;
            reject(new Error("stopped"));
          });
        }),
    });
    const waiting = [1, 2].map(() => rpcError(edge.call(registerUdpSession, session, options)));
    await edge.call(updateConfiguration, { version: 1, config: new Uint8Array(0) }, options);
    server.close("time is up");
    for (const error of await Promise.all(waiting)) expect(error.fault).toBe("aborted");
    expect(told).toBe(2);
  });
});
