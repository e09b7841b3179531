/** Configurations that the edge sends by RPC, as on QUIC: cases CFG-05 and CFG-06, with capnp-ts in the edge's place. */
import { type Client, Conn, RemotePromise, type Struct, type Method as TheirMethod } from "capnp-ts";
import { describe, expect, it } from "vitest";
import { Orchestrator } from "../../src/connector/orchestrator.ts";
import { defaultOriginRequest, singleService } from "../../src/proxy/ingress/defaults.ts";
import { serveCloudflared } from "../../src/rpc/cloudflared-server.ts";
import { updateConfiguration } from "../../src/rpc/methods.ts";
import type { Ingress } from "../../src/types.ts";
import { capnpTs } from "../protocol/capnp/capnp-ts-oracle.ts";
import { transport } from "../rpc/capnp-ts-transport.ts";
import { channelPair } from "../rpc/channels.ts";
import { recordingLogger } from "./fake-edge.ts";

const method: TheirMethod<Struct, Struct> = {
  interfaceId: updateConfiguration.interfaceId,
  interfaceName: "ConfigurationManager",
  methodId: updateConfiguration.methodId,
  methodName: "updateConfiguration",
  ParamsClass: capnpTs.updateConfigurationParams.type,
  ResultsClass: capnpTs.updateConfigurationResults.type,
};

class ManagerClient {
  readonly client: Client;
  constructor(client: Client) {
    this.client = client;
  }
}

function open(chunkBytes?: number) {
  const applied: Ingress[] = [];
  const orchestrator = new Orchestrator({
    ingress: singleService({ kind: "status", status: 204 }, defaultOriginRequest),
    context: { readFile: () => "" },
    maxActiveFlows: undefined,
    apply: (ingress) => applied.push(ingress),
    onApplied() {},
    logger: recordingLogger().logger,
  });
  const [near, far] = channelPair(chunkBytes);
  const server = serveCloudflared(far, {
    registerUdpSession: () => new Uint8Array(0),
    unregisterUdpSession() {},
    updateConfiguration: (version, config) => orchestrator.updateText(version, config),
  });
  const conn = new Conn(transport(near));
  const manager = conn.bootstrap({ _capnp: { displayName: "ConfigurationManager", id: "" }, Client: ManagerClient });
  const call = async (version: number, config: unknown): Promise<unknown> => {
    const bytes = Buffer.from(typeof config === "string" ? config : JSON.stringify(config));
    const results = await manager.client.call(
      method,
      (params: Struct) => capnpTs.updateConfigurationParams.write(params, { version, config: new Uint8Array(bytes) }),
      RemotePromise<Struct>,
    );
    return capnpTs.updateConfigurationResults.read(results).result;
  };
  return { applied, call, conn, server };
}

const answers = (status: number): object => ({ ingress: [{ service: `http_status:${status}` }] });

describe("updateConfiguration by RPC", () => {
  it.each([7, undefined])(
    "is answered by the same rules, several on one stream, in chunks of %s bytes",
    async (size) => {
      const { applied, call, conn } = open(size);
      expect(await call(-1, answers(418))).toEqual({ latestAppliedVersion: -1, err: "" });
      expect(await call(0, answers(418))).toEqual({ latestAppliedVersion: 0, err: "" });
      expect(await call(0, "not looked at")).toEqual({ latestAppliedVersion: 0, err: "" });
      expect(await call(1, "{truncated")).toEqual({ latestAppliedVersion: 0, err: "the configuration is not JSON" });
      expect(await call(1, { ingress: [{ service: "gopher://x" }] })).toEqual({
        latestAppliedVersion: 0,
        err: expect.stringMatching(/^ingress\[0\]\.service: /),
      });
      expect(await call(1, answers(404))).toEqual({ latestAppliedVersion: 1, err: "" });
      expect(applied).toHaveLength(2);
      conn.close();
    },
  );

  it("asked for at once is answered in order", async () => {
    const { applied, call, conn } = open();
    const versions = [3, 1, 5, 4, 5, 6];
    const results = await Promise.all(versions.map((version) => call(version, answers(400 + version))));
    expect(results).toEqual([3, 3, 5, 5, 5, 6].map((latestAppliedVersion) => ({ latestAppliedVersion, err: "" })));
    expect(applied.map(({ rules: [rule] }) => rule?.service)).toEqual(
      [403, 405, 406].map((status) => ({ kind: "status", status })),
    );
    conn.close();
  });
});
