import { describe, expect, it, vi } from "vitest";
import {
  abortMessage,
  bootstrapReturnMessage,
  canceledMessage,
  exceptionMessage,
  finishMessage,
  resultsMessage,
} from "../../src/rpc/message-writing.ts";
import { registerConnection } from "../../src/rpc/methods.ts";
import { createRegistrationClient } from "../../src/rpc/registration-client.ts";
import { message } from "../protocol/capnp/frames.ts";
import { ScriptedChannel } from "./channels.ts";
import { options, registration, rpcError } from "./registration-fixtures.ts";

/** The client with the edge played by hand. */
function scripted() {
  const channel = new ScriptedChannel();
  const client = createRegistrationClient(channel);
  const sent = (): Buffer[] => channel.take().map((hex) => Buffer.from(hex, "hex"));
  return { channel, client, sent };
}

const details = {
  result: {
    kind: "connectionDetails" as const,
    connectionDetails: { uuid: new Uint8Array(16).fill(1), locationName: "x", tunnelIsRemotelyManaged: false },
  },
};
const ok = (id: number): Uint8Array => resultsMessage(id, false, registerConnection.results, details);
const kindOf = (frame: Buffer | undefined): number | undefined => frame?.readUInt16LE(16);
const CALL = 2;
const FINISH = 4;
const RELEASE = 6;
const BOOTSTRAP = 8;
const ABORT = 1;

describe("registration, on the wire", () => {
  it("makes the first call on the answer to come, in one turn with the bootstrap", async () => {
    const { channel, client, sent } = scripted();
    const call = client.register(registration(), options);
    const [bootstrap, register] = sent();
    expect([kindOf(bootstrap), kindOf(register)]).toStrictEqual([BOOTSTRAP, CALL]);
    // MessageTarget: which = promisedAnswer.
    expect(register?.readUInt16LE(84)).toBe(1);
    channel.deliver(ok(1));
    expect(await call).toMatchObject({ kind: "registered" });
    channel.deliver(bootstrapReturnMessage(0, 0));
    const later = client.unregister(options);
    expect(sent().map(kindOf)).toStrictEqual([FINISH, FINISH, CALL]);
    client.close();
    await rpcError(later);
  });

  it("makes it on the capability when the bootstrap's answer came first, and takes its id again", async () => {
    const { channel, client, sent } = scripted();
    channel.deliver(bootstrapReturnMessage(0, 9));
    expect(sent().map(kindOf)).toStrictEqual([BOOTSTRAP, FINISH]);
    const call = client.register(registration(), options);
    const [register] = sent();
    expect(register?.readUInt32LE(32)).toBe(0);
    // MessageTarget: importedCap 9.
    expect([register?.readUInt16LE(84), register?.readUInt32LE(80)]).toStrictEqual([0, 9]);
    channel.deliver(ok(0));
    await call;
    client.close();
    const closing = sent();
    expect(closing.map(kindOf)).toStrictEqual([FINISH, RELEASE, ABORT]);
    expect([closing[1]?.readUInt32LE(32), closing[1]?.readUInt32LE(36)]).toStrictEqual([9, 1]);
    expect(channel.ended).toBe(true);
  });

  it("finishes early on a timeout, keeps the id until the Return, and sends no second Finish", async () => {
    vi.useFakeTimers();
    try {
      const { channel, client, sent } = scripted();
      channel.deliver(bootstrapReturnMessage(0, 0));
      const call = rpcError(client.register(registration(), options));
      sent();
      vi.advanceTimersByTime(5000);
      expect(await call).toMatchObject({
        code: "ERR_UNDERPASS_RPC_TIMEOUT",
        message: "registerConnection had no answer within 5000 ms",
      });
      const [finish] = sent();
      expect(finish?.toString("hex")).toBe(Buffer.from(finishMessage(0, true)).toString("hex"));
      const second = client.unregister(options);
      expect(sent()[0]?.readUInt32LE(32)).toBe(1);
      channel.deliver(ok(0));
      expect(sent()).toStrictEqual([]);
      channel.deliver(resultsMessage(1, false, registerConnection.results, details));
      await second;
      expect(sent().map(kindOf)).toStrictEqual([FINISH]);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it("fails every call when the bootstrap fails", async () => {
    const { channel, client, sent } = scripted();
    const call = rpcError(client.register(registration(), options));
    sent();
    channel.deliver(exceptionMessage(0, false, 2, "try elsewhere"));
    expect(await call).toMatchObject({
      fault: "exception",
      message: "the peer answered with an exception (disconnected): try elsewhere",
    });
    expect(sent().map(kindOf)).toStrictEqual([FINISH, FINISH]);
    expect((await rpcError(client.unregister(options))).fault).toBe("exception");
    expect(sent()).toStrictEqual([]);
    channel.deliver(canceledMessage(1, false));
    expect(channel.ended).toBe(false);
  });

  it("takes an answer without a capability as a failed bootstrap", async () => {
    const { channel, client } = scripted();
    channel.deliver(resultsMessage(0, false, registerConnection.results, details));
    expect(channel.ended).toBe(true);
    expect((await rpcError(client.unregister(options))).fault).toBe("malformed");
  });

  it("takes one whose capability is its own and not the edge's as failed, too", async () => {
    const { channel, client } = scripted();
    const answer = Buffer.from(bootstrapReturnMessage(0, 0));
    // CapDescriptor: from senderHosted to receiverHosted.
    expect(answer.readUInt16LE(80)).toBe(1);
    answer.writeUInt16LE(3, 80);
    channel.deliver(answer);
    expect(await rpcError(client.unregister(options))).toMatchObject({
      fault: "malformed",
      message: expect.stringContaining("no capability"),
    });
  });

  const answers: [string, (id: number) => Uint8Array, string][] = [
    [
      "a connection id of the wrong length",
      (id) =>
        resultsMessage(id, false, registerConnection.results, {
          result: {
            kind: "connectionDetails",
            connectionDetails: { uuid: new Uint8Array(15), locationName: "", tunnelIsRemotelyManaged: false },
          },
        }),
      "15 bytes",
    ],
    [
      "no result",
      (id) => resultsMessage(id, false, { dataWords: 0, pointers: 1, write: () => undefined }, undefined),
      "neither",
    ],
    [
      "a union member that is not known",
      (id) =>
        resultsMessage(
          id,
          false,
          { dataWords: 0, pointers: 1, write: (struct) => struct.init(0, 1, 1).uint16(0, 7) },
          undefined,
        ),
      "union member 7",
    ],
    [
      "a result that is a text",
      (id) =>
        resultsMessage(id, false, { dataWords: 0, pointers: 1, write: (struct) => struct.text(0, "no") }, undefined),
      "list where a struct is expected",
    ],
  ];
  it.each(answers)("takes %s as malformed, and lives on", async (_, answer, part) => {
    const { channel, client } = scripted();
    const call = rpcError(client.register(registration(), options));
    channel.deliver(answer(1));
    expect(await call).toMatchObject({ code: "ERR_UNDERPASS_RPC_MALFORMED", message: expect.stringContaining(part) });
    expect(channel.ended).toBe(false);
  });

  it("keeps the peer's texts short and printable, and its times within what a timer takes", async () => {
    const { channel, client } = scripted();
    const call = client.register(registration(), options);
    const error = { cause: `\u0000${"x".repeat(100_000)}`, retryAfter: 2n ** 63n - 1n, shouldRetry: true };
    channel.deliver(resultsMessage(1, false, registerConnection.results, { result: { kind: "error", error } }));
    const result = await call;
    expect(result).toMatchObject({ kind: "refused", shouldRetry: true, retryAfterMs: 2 ** 31 - 1 });
    expect(result.kind === "refused" && result.cause).toBe(`\ufffd${"x".repeat(1023)}…`);
    const negative = client.register(registration(), options);
    const early = { cause: "", retryAfter: -1n, shouldRetry: true };
    channel.deliver(resultsMessage(1, false, registerConnection.results, { result: { kind: "error", error: early } }));
    expect(await negative).toMatchObject({ retryAfterMs: 0 });
  });

  it("refuses a call whose signal is aborted already, without sending it", async () => {
    const { client, sent } = scripted();
    sent();
    const call = client.register(registration(), { ...options, signal: AbortSignal.abort() });
    expect((await rpcError(call)).fault).toBe("cancelled");
    expect(sent()).toStrictEqual([]);
  });

  it("keeps no listener on a signal that outlives the call", async () => {
    const { channel, client } = scripted();
    const { signal } = new AbortController();
    const removed = vi.spyOn(signal, "removeEventListener");
    const call = client.register(registration(), { ...options, signal });
    channel.deliver(ok(1));
    await call;
    expect(removed).toHaveBeenCalledTimes(1);
  });

  it("refuses the 65th call that has no answer, and fails the others with the connection", async () => {
    const { channel, client } = scripted();
    const calls = Array.from({ length: 63 }, () => rpcError(client.unregister(options)));
    expect((await rpcError(client.unregister(options))).fault).toBe("limit");
    channel.onEnd(new Error("reset"));
    for (const error of await Promise.all(calls))
      expect(error).toMatchObject({ fault: "closed", cause: expect.any(Error) });
    expect(await client.ended).toMatchObject({
      code: "ERR_UNDERPASS_RPC_CLOSED",
      message: expect.stringContaining("reset"),
    });
  });

  it("ends in order when the edge ends between two messages, and not within one", async () => {
    const between = scripted();
    between.channel.onEnd();
    expect(await between.client.ended).toBeUndefined();
    expect((await rpcError(between.client.unregister(options))).fault).toBe("closed");
    const within = scripted();
    within.channel.deliver(bootstrapReturnMessage(0, 0).subarray(0, 20));
    within.channel.onEnd();
    expect(await within.client.ended).toMatchObject({ message: "the RPC stream ended within a message" });
  });

  it.each<[string, (channel: ScriptedChannel) => void]>([
    ["ends its side", (channel) => channel.onEnd()],
    ["aborts", (channel) => channel.deliver(abortMessage("rpc: shutdown"))],
    ["aborts with a reason", (channel) => channel.deliver(abortMessage("maintenance"))],
  ])("keeps its side open when the edge %s, until it is closed", async (_, end) => {
    const { channel, client, sent } = scripted();
    sent();
    end(channel);
    await client.ended;
    expect(channel.ended).toBe(false);
    client.close();
    expect(channel.ended).toBe(true);
    expect(sent()).toStrictEqual([]);
  });

  it("leaves no timer behind", async () => {
    vi.useFakeTimers();
    try {
      const { channel, client } = scripted();
      const call = rpcError(client.register(registration(), options));
      channel.deliver(bootstrapReturnMessage(0, 0).subarray(0, 20));
      channel.onEnd();
      await call;
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it("ends when a message is never completed", async () => {
    vi.useFakeTimers();
    try {
      const { channel, client, sent } = scripted();
      sent();
      channel.deliver(bootstrapReturnMessage(0, 0).subarray(0, 20));
      vi.advanceTimersByTime(29_999);
      expect(channel.ended).toBe(false);
      channel.deliver(bootstrapReturnMessage(0, 0).subarray(20, 21));
      vi.advanceTimersByTime(1);
      expect(channel.ended).toBe(true);
      expect(sent().map(kindOf)).toStrictEqual([ABORT]);
      expect(await client.ended).toMatchObject({ code: "ERR_UNDERPASS_RPC_TIMEOUT" });
    } finally {
      vi.useRealTimers();
    }
  });

  it("gives each message its own time", () => {
    vi.useFakeTimers();
    try {
      const { channel } = scripted();
      const messages = Buffer.concat(Array.from({ length: 10 }, () => message("0000000001000000", "0500000000000000")));
      for (let at = 0; at < messages.length; at += 24) {
        channel.deliver(messages.subarray(Math.max(0, at - 4), at + 20));
        vi.advanceTimersByTime(20_000);
      }
      expect(channel.ended).toBe(false);
      vi.advanceTimersByTime(30_000);
      expect(channel.ended).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  it("survives a channel whose write throws", async () => {
    const channel = new ScriptedChannel();
    const client = createRegistrationClient(channel);
    channel.writeError = new Error("broken pipe");
    expect((await rpcError(client.register(registration(), options))).fault).toBe("closed");
    expect(await client.ended).toMatchObject({ message: expect.stringContaining("broken pipe") });
    client.close();
  });
});
