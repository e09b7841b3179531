import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { RpcConnection } from "../../src/rpc/connection.ts";
import {
  abortMessage,
  bootstrapMessage,
  bootstrapReturnMessage,
  callMessage,
  exceptionMessage,
  finishMessage,
  releaseMessage,
  resultsMessage,
} from "../../src/rpc/message-writing.ts";
import { registerConnection, unregisterConnection, updateLocalConfiguration } from "../../src/rpc/methods.ts";
import { createRegistrationClient, type RegistrationParams } from "../../src/rpc/registration-client.ts";
import { serveRegistration } from "../../src/rpc/registration-server.ts";
import { ScriptedChannel, settled } from "./channels.ts";

const fixtures = new URL("../fixtures/capnp/", import.meta.url);
const golden = JSON.parse(readFileSync(new URL("messages.json", fixtures), "utf8")) as Record<string, string>;
const stream = JSON.parse(readFileSync(new URL("control-stream.json", fixtures), "utf8")) as {
  from: "connector" | "edge";
  kind: string;
  hex: string;
}[];

const options = { timeoutMs: 5000 };

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function bytes(name: string): Buffer {
  const text = golden[name];
  if (text === undefined) throw new Error(`no fixture ${name}`);
  return Buffer.from(text, "hex");
}

function uuid(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll("-", ""), "hex"));
}

/** What cloudflared registered with when `registerConnectionCall` was recorded. */
const registration: RegistrationParams = {
  accountTag: "abcdef0123456789abcdef0123456789",
  tunnelSecret: Uint8Array.from({ length: 32 }, (_, i) => i),
  tunnelId: "11111111-2222-3333-4444-555555555555",
  connIndex: 0,
  clientId: "f5b2d5b8-1040-4cc8-8deb-16dbc3fa15db",
  features: ["management_logs", "allow_remote_config", "serialized_headers", "support_datagram_v2", "support_quic_eof"],
  version: "DEV",
  arch: "linux_amd64",
  originLocalIp: "127.0.0.1",
  replaceExisting: false,
  numPreviousAttempts: 0,
};

describe("messages as cloudflared writes them", () => {
  it("Bootstrap, Finish, Abort", () => {
    expect(hex(bootstrapMessage(0))).toBe(golden.bootstrap);
    expect(hex(finishMessage(0, false))).toBe(golden.finish);
    expect(hex(abortMessage("rpc: shutdown"))).toBe(golden.abort);
  });

  it("Return of a bootstrap", () => {
    expect(hex(bootstrapReturnMessage(0, 0))).toBe(golden.bootstrapReturn);
  });

  it("Return with connection details", () => {
    const results = {
      result: {
        kind: "connectionDetails" as const,
        connectionDetails: {
          uuid: uuid("437da7c8-1515-4275-8ff7-fbc9f52daba7"),
          locationName: "LAB",
          tunnelIsRemotelyManaged: false,
        },
      },
    };
    expect(hex(resultsMessage(1, false, registerConnection.results, results))).toBe(golden.connectionDetailsReturn);
  });

  it("Call of unregisterConnection", () => {
    const { interfaceId, methodId, params } = unregisterConnection;
    const target = { kind: "importedCap" as const, id: 0 };
    expect(hex(callMessage({ questionId: 1, interfaceId, methodId, target }, params, undefined))).toBe(
      golden.unregisterConnectionCall,
    );
  });

  it("the Call of registerConnection, from the client's own parameters", async () => {
    const channel = new ScriptedChannel();
    const client = createRegistrationClient(channel);
    const call = client.register(registration, options);
    expect(channel.take()).toStrictEqual([golden.bootstrap, golden.registerConnectionCall]);

    channel.deliver(Buffer.concat([bytes("bootstrapReturn"), bytes("connectionDetailsReturn")]));
    expect(await call).toStrictEqual({
      kind: "registered",
      connectionId: "437da7c8-1515-4275-8ff7-fbc9f52daba7",
      location: "LAB",
      remotelyManaged: false,
    });
  });

  it("the Call of registerConnection, as the edge understands it", async () => {
    const channel = new ScriptedChannel();
    const seen: RegistrationParams[] = [];
    serveRegistration(channel, {
      registerConnection(params) {
        seen.push(params);
        return {
          kind: "registered",
          connectionId: "437da7c8-1515-4275-8ff7-fbc9f52daba7",
          location: "LAB",
          remotelyManaged: false,
        };
      },
      unregisterConnection: () => undefined,
      updateLocalConfiguration: () => undefined,
    });
    channel.deliver(Buffer.concat([bytes("bootstrap"), bytes("registerConnectionCall")]));
    await settled();
    expect(seen).toStrictEqual([registration]);
    expect(channel.take()).toStrictEqual([golden.bootstrapReturn, golden.connectionDetailsReturn]);
  });
});

describe("a whole control stream, recorded from cloudflared on both ends", () => {
  it("as the connector: every byte", async () => {
    const channel = new ScriptedChannel();
    const connection = new RpcConnection(channel, []);
    const edge = stream.filter(({ from }) => from === "edge");
    const answer = async (): Promise<void> => {
      channel.deliver(Buffer.from(edge.shift()?.hex ?? "", "hex"));
      await settled();
    };
    connection.bootstrap();
    const registered = connection.call(
      registerConnection,
      {
        auth: { accountTag: "acct", tunnelSecret: Buffer.from("secret-secret-secret-secret-0123") },
        tunnelId: uuid("99999999-8888-7777-6666-555555555555"),
        connIndex: 0,
        options: {
          client: {
            clientId: uuid("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"),
            features: ["allow_remote_config", "serialized_headers", "support_datagram_v2"],
            version: "2026.8.2",
            arch: "linux_amd64",
          },
          originLocalIp: Uint8Array.from([10, 0, 0, 7]),
          replaceExisting: false,
          compressionQuality: 0,
          numPreviousAttempts: 1,
        },
      },
      options,
    );
    await answer();
    await answer();
    expect(await registered).toMatchObject({
      result: { kind: "connectionDetails", connectionDetails: { locationName: "LAX", tunnelIsRemotelyManaged: false } },
    });
    const updated = connection.call(updateLocalConfiguration, { config: Buffer.from('{"x":1}') }, options);
    await answer();
    await updated;
    const refused = connection.call(updateLocalConfiguration, { config: Buffer.from("bad") }, options);
    const refusal = expect(refused).rejects.toMatchObject({
      code: "ERR_UNDERPASS_RPC_EXCEPTION",
      message: expect.stringContaining("bad config"),
    });
    await answer();
    await refusal;
    const unregistered = connection.call(unregisterConnection, undefined, options);
    await answer();
    await unregistered;
    connection.close();
    expect(channel.take()).toStrictEqual(
      stream.filter(({ from }) => from === "connector").map((message) => message.hex),
    );
    expect(channel.ended).toBe(true);
    expect(await connection.ended).toBeUndefined();
  });

  it("as the edge: every byte", async () => {
    const channel = new ScriptedChannel();
    const configurations: string[] = [];
    let unregistered = 0;
    const server = serveRegistration(channel, {
      registerConnection: () => ({
        kind: "registered",
        connectionId: "11112222-3333-4444-5555-666677778888",
        location: "LAX",
        remotelyManaged: false,
      }),
      unregisterConnection() {
        unregistered++;
      },
      updateLocalConfiguration(config) {
        configurations.push(Buffer.from(config).toString());
        if (configurations.length === 2) throw new Error("bad config");
      },
    });
    for (const { from, hex } of stream) {
      if (from !== "connector") continue;
      channel.deliver(Buffer.from(hex, "hex"));
      await settled();
    }
    expect(channel.take()).toStrictEqual(stream.filter(({ from }) => from === "edge").map((message) => message.hex));
    expect(configurations).toStrictEqual(['{"x":1}', "bad"]);
    expect(unregistered).toBe(1);
    expect(await server.ended).toBeUndefined();
  });

  it("has messages of every kind that is written", () => {
    expect(hex(exceptionMessage(1, false, 0, "bad config"))).toBe(stream[10]?.hex);
    expect(hex(finishMessage(1, true))).toBe(stream[11]?.hex);
    expect(hex(releaseMessage(0, 1))).toBe(stream[15]?.hex);
  });
});
