/** capnp-ts at the other end of the stream: in the edge's place, and in the connector's. */
import { randomBytes, randomUUID } from "node:crypto";
import { type Client, Conn, RemotePromise, Server, Struct, type Method as TheirMethod } from "capnp-ts";
import { describe, expect, it } from "vitest";
import { registerConnection, unregisterConnection, updateLocalConfiguration } from "../../src/rpc/methods.ts";
import { createRegistrationClient } from "../../src/rpc/registration-client.ts";
import { serveRegistration } from "../../src/rpc/registration-server.ts";
import { capnpTs } from "../protocol/capnp/capnp-ts-oracle.ts";
import { transport } from "./capnp-ts-transport.ts";
import { channelPair } from "./channels.ts";
import { handlers, options, registered, registration, rpcError } from "./registration-fixtures.ts";

const REGISTRATION_SERVER = 0xf71695ec7fe85497n;

function theirMethod(
  methodId: number,
  methodName: string,
  params: (typeof capnpTs)[keyof typeof capnpTs]["type"],
  results: (typeof capnpTs)[keyof typeof capnpTs]["type"],
): TheirMethod<Struct, Struct> {
  return {
    interfaceId: REGISTRATION_SERVER,
    interfaceName: "RegistrationServer",
    methodId,
    methodName,
    ParamsClass: params,
    ResultsClass: results,
  };
}

const register = theirMethod(
  registerConnection.methodId,
  "registerConnection",
  capnpTs.registerConnectionParams.type,
  capnpTs.registerConnectionResults.type,
);
const unregister = theirMethod(
  unregisterConnection.methodId,
  "unregisterConnection",
  capnpTs.empty.type,
  capnpTs.empty.type,
);
const update = theirMethod(
  updateLocalConfiguration.methodId,
  "updateLocalConfiguration",
  capnpTs.updateLocalConfigurationParams.type,
  capnpTs.empty.type,
);

describe("capnp-ts at the other end of the stream", () => {
  it.each([5, undefined])("as the edge, in chunks of %s bytes", async (chunkBytes) => {
    const [near, far] = channelPair(chunkBytes);
    const seen: unknown[] = [];
    const main = new Server([
      {
        ...register,
        impl(params: Struct, results: Struct) {
          seen.push(capnpTs.registerConnectionParams.read(params));
          capnpTs.registerConnectionResults.write(results, {
            result: {
              kind: "connectionDetails",
              connectionDetails: {
                uuid: new Uint8Array(16).fill(0xab),
                locationName: "lab01",
                tunnelIsRemotelyManaged: false,
              },
            },
          });
        },
      },
      {
        ...update,
        impl(params: Struct) {
          seen.push(capnpTs.updateLocalConfigurationParams.read(params));
          if (seen.length > 2) throw new Error("no more configurations");
        },
      },
      { ...unregister, impl: () => void seen.push("unregister") },
    ]);
    const conn = new Conn(transport(far), { main });
    const client = createRegistrationClient(near);
    const params = registration();
    expect(await client.register(params, options)).toStrictEqual({
      kind: "registered",
      connectionId: "abababab-abab-abab-abab-abababababab",
      location: "lab01",
      remotelyManaged: false,
    });
    const config = new Uint8Array(randomBytes(5000));
    await client.updateLocalConfiguration(config, options);
    expect((await rpcError(client.updateLocalConfiguration(config, options))).message).toContain(
      "no more configurations",
    );
    await client.unregister(options);
    expect(seen).toMatchObject([
      { auth: { accountTag: "account", tunnelSecret: params.tunnelSecret }, connIndex: 3 },
      { config },
      { config },
      "unregister",
    ]);
    client.close();
    expect(await client.ended).toBeUndefined();
    conn.close();
  });

  it.each([5, undefined])("as the connector, in chunks of %s bytes", async (chunkBytes) => {
    const [near, far] = channelPair(chunkBytes);
    const seen: unknown[] = [];
    serveRegistration(
      far,
      handlers({
        registerConnection(params) {
          seen.push(params);
          return registered;
        },
        updateLocalConfiguration(config) {
          seen.push(config);
          throw new Error("bad config");
        },
        unregisterConnection: () => void seen.push("unregister"),
      }),
    );
    const conn = new Conn(transport(near));
    const registrationServer = conn.bootstrap({
      _capnp: { displayName: "RegistrationServer", id: "f71695ec7fe85497" },
      Client: class {
        readonly client: Client;
        constructor(client: Client) {
          this.client = client;
        }
      },
    }).client;
    const tunnelId = randomUUID();
    const value = {
      auth: { accountTag: "account", tunnelSecret: new Uint8Array(randomBytes(32)) },
      tunnelId: new Uint8Array(Buffer.from(tunnelId.replaceAll("-", ""), "hex")),
      connIndex: 2,
      options: {
        client: { clientId: new Uint8Array(16).fill(0xcd), features: ["a", "b"], version: "1", arch: "x" },
        originLocalIp: Uint8Array.from([192, 0, 2, 9]),
        replaceExisting: false,
        compressionQuality: 0,
        numPreviousAttempts: 1,
      },
    };
    const results = await registrationServer.call(
      register,
      (params: Struct) => capnpTs.registerConnectionParams.write(params, value),
      RemotePromise<Struct>,
    );
    expect(capnpTs.registerConnectionResults.read(results)).toMatchObject({
      result: {
        kind: "connectionDetails",
        connectionDetails: { locationName: "ams01", tunnelIsRemotelyManaged: true },
      },
    });
    const refused = registrationServer.call(
      update,
      (params: Struct) => capnpTs.updateLocalConfigurationParams.write(params, { config: new Uint8Array([1]) }),
      RemotePromise<Struct>,
    );
    await expect(refused.then(() => undefined)).rejects.toThrow("bad config");
    await registrationServer.call(unregister, undefined, RemotePromise<Struct>);
    expect(seen).toMatchObject([
      { accountTag: "account", tunnelId, connIndex: 2, features: ["a", "b"], originLocalIp: "192.0.2.9" },
      Uint8Array.from([1]),
      "unregister",
    ]);
    conn.close();
  });
});
