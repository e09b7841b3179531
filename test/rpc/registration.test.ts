import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, it, vi } from "vitest";
import {
  createRegistrationClient,
  type RegistrationParams,
  type RegistrationResult,
} from "../../src/rpc/registration-client.ts";
import { type RegistrationHandlers, serveRegistration } from "../../src/rpc/registration-server.ts";
import { channelPair } from "./channels.ts";
import { handlers, options, registered, registration, rpcError } from "./registration-fixtures.ts";

function connect(change: Partial<RegistrationHandlers> = {}, chunkBytes?: number) {
  const [near, far] = channelPair(chunkBytes);
  const server = serveRegistration(far, handlers(change));
  return { client: createRegistrationClient(near), server };
}

describe("registration, both ends", () => {
  it.each([1, 7, 8, 64, undefined])("a tunnel's life, in chunks of %s bytes", async (chunkBytes) => {
    const calls: unknown[] = [];
    const { client, server } = connect(
      {
        registerConnection(params) {
          calls.push(params);
          return registered;
        },
        updateLocalConfiguration: (config) => void calls.push(Buffer.from(config).toString()),
        unregisterConnection: () => void calls.push("unregister"),
      },
      chunkBytes,
    );
    const params = registration();
    expect(await client.register(params, options)).toStrictEqual(registered);
    await client.updateLocalConfiguration(Buffer.from('{"ingress":[]}'), options);
    await client.unregister(options);
    client.close();
    expect(calls).toStrictEqual([params, '{"ingress":[]}', "unregister"]);
    expect(await Promise.all([client.ended, server.ended])).toStrictEqual([undefined, undefined]);
  });

  it.each<[string, RegistrationResult]>([
    ["to be tried again", { kind: "refused", cause: "later", shouldRetry: true, retryAfterMs: 5000 }],
    ["for good", { kind: "refused", cause: "no such tunnel", shouldRetry: false, retryAfterMs: 0 }],
    ["as a duplicate", { kind: "refused", cause: "EDUPCONN", shouldRetry: true, retryAfterMs: 0 }],
    ["without a cause", { kind: "refused", cause: "", shouldRetry: false, retryAfterMs: 0 }],
  ])("a refusal %s", async (_, refusal) => {
    const { client } = connect({ registerConnection: () => Promise.resolve(refusal) });
    expect(await client.register(registration(), options)).toStrictEqual(refusal);
  });

  it("carries a local configuration of several megabytes", async () => {
    const config = new Uint8Array(randomBytes(3 * 1024 * 1024));
    let received: Uint8Array | undefined;
    const { client } = connect(
      {
        updateLocalConfiguration(bytes) {
          received = bytes;
        },
      },
      16_384,
    );
    await client.updateLocalConfiguration(config, options);
    expect(Buffer.compare(received ?? new Uint8Array(0), config)).toBe(0);
  });

  it("answers with the message of what a handler throws, and lives on", async () => {
    const { client } = connect({
      registerConnection: () => Promise.reject(new Error("Unauthorized: Tunnel not found")),
      updateLocalConfiguration() {
        throw Object.create(null);
      },
    });
    const error = await rpcError(client.register(registration(), options));
    expect(error.code).toBe("ERR_UNDERPASS_RPC_EXCEPTION");
    expect(error.message).toBe("the peer answered with an exception (failed): Unauthorized: Tunnel not found");
    expect(await rpcError(client.updateLocalConfiguration(new Uint8Array(1), options))).toMatchObject({
      message: "the peer answered with an exception (failed): unknown error",
    });
    await client.unregister(options);
  });

  it("answers with an exception when a handler's result can't be written", async () => {
    const { client } = connect({ registerConnection: () => ({ ...registered, connectionId: "no uuid" }) });
    expect(await rpcError(client.register(registration(), options))).toMatchObject({ fault: "exception" });
  });

  it("keeps attempts to one byte, and the address out when it is none", async () => {
    const seen: RegistrationParams[] = [];
    const { client } = connect({
      registerConnection(params) {
        seen.push(params);
        return registered;
      },
    });
    await client.register(registration({ numPreviousAttempts: 300, originLocalIp: "localhost" }), options);
    await client.register(registration({ originLocalIp: "2001:db8::1" }), options);
    expect(seen).toMatchObject([
      { numPreviousAttempts: 255, originLocalIp: undefined },
      { originLocalIp: "2001:db8::1" },
    ]);
  });

  it("refuses what can't be sent, without sending it", async () => {
    const { client } = connect();
    for (const change of [{ tunnelId: "none" }, { clientId: "" }, { connIndex: 256 }, { connIndex: 1.5 }])
      expect((await rpcError(client.register(registration(change), options))).fault).toBe("argument");
    expect(await client.register(registration(), options)).toStrictEqual(registered);
  });

  it("tells a handler when the caller gives up, and goes on with the next call", async () => {
    let gaveUp: Promise<unknown> | undefined;
    const { client } = connect({
      registerConnection(_, signal) {
        gaveUp = new Promise((resolve) => {
          signal.addEventListener("abort", resolve);
        });
        return new Promise(() => undefined);
      },
    });
    const controller = new AbortController();
    const call = rpcError(client.register(registration(), { ...options, signal: controller.signal }));
    await vi.waitUntil(() => gaveUp !== undefined);
    controller.abort(new Error("enough"));
    expect(await call).toMatchObject({ code: "ERR_UNDERPASS_RPC_CANCELLED", cause: { message: "enough" } });
    await gaveUp;
    await client.unregister(options);
  });

  it("tells handlers when the connection is gone", async () => {
    let gone: Promise<unknown> | undefined;
    const { client, server } = connect({
      registerConnection(_, signal) {
        gone = new Promise((resolve) => {
          signal.addEventListener("abort", resolve);
        });
        return new Promise(() => undefined);
      },
    });
    const call = rpcError(client.register(registration(), options));
    await vi.waitUntil(() => gone !== undefined);
    client.close();
    expect((await call).fault).toBe("closed");
    await gone;
    expect(await server.ended).toBeUndefined();
  });

  it("names the reason with which the edge ended", async () => {
    const { client, server } = connect();
    await client.register(registration(), options);
    server.close("edge is going down\u001b[31m");
    expect(await client.ended).toMatchObject({
      code: "ERR_UNDERPASS_RPC_ABORTED",
      message: "the peer ended the RPC connection: edge is going down\ufffd[31m",
    });
    expect((await rpcError(client.unregister(options))).fault).toBe("aborted");
    server.close();
    client.close();
  });

  it("puts the secret into no error", async () => {
    const secret = randomBytes(32);
    const params = registration({ tunnelSecret: new Uint8Array(secret) });
    const { client, server } = connect({ registerConnection: () => new Promise(() => undefined) });
    const errors = [await rpcError(client.register(params, { timeoutMs: 1 }))];
    errors.push(await rpcError(client.register({ ...params, tunnelId: "x" }, options)));
    server.close("bye");
    errors.push(await rpcError(client.register(params, options)));
    for (const error of errors) {
      const shown = inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error) + error.stack;
      for (const spelling of ["hex", "base64", "latin1"] as const)
        expect(shown).not.toContain(secret.toString(spelling));
      expect(shown).not.toContain(secret.join(","));
      expect(shown).not.toContain(secret.join(", "));
    }
  });
});
