/** Seeded mutations of Cap'n Proto messages and of RPC sequences, and what must hold for each. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { connectRequestType, connectResponseType } from "../../src/protocol/capnp/connect.ts";
import { CapnpError } from "../../src/protocol/capnp/errors.ts";
import { FrameSplitter } from "../../src/protocol/capnp/frame.ts";
import { MAX_CONNECT_MESSAGE_BYTES } from "../../src/protocol/capnp/limits.ts";
import { decodeMessage } from "../../src/protocol/capnp/reader.ts";
import { registerConnectionParamsType, registerConnectionResultsType } from "../../src/protocol/capnp/registration.ts";
import { registerUdpSessionParamsType } from "../../src/protocol/capnp/session.ts";
import type { StructType } from "../../src/protocol/capnp/struct-type.ts";
import { encodeMessage } from "../../src/protocol/capnp/writer.ts";
import { RpcError } from "../../src/rpc/errors.ts";
import { createRegistrationClient, type RegistrationParams } from "../../src/rpc/registration-client.ts";
import { serveRegistration } from "../../src/rpc/registration-server.ts";
import { ScriptedChannel, settled } from "../rpc/channels.ts";

const fixtures = new URL("../fixtures/capnp/", import.meta.url);

function hexFile(name: string): Buffer {
  return Buffer.from(readFileSync(new URL(name, fixtures), "utf8").replace(/\s/g, ""), "hex");
}

const stream = (
  JSON.parse(readFileSync(new URL("control-stream.json", fixtures), "utf8")) as { from: string; hex: string }[]
).map(({ from, hex }) => ({ from, bytes: Buffer.from(hex, "hex") }));

/** mulberry32: an integer below `bound`. */
export type Random = (bound: number) => number;

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** Values at which lengths, offsets, counts and kinds turn over. */
const INTERESTING = [
  0, 1, 2, 3, 4, 5, 6, 7, 0x7f, 0x80, 0xff, 0x1ff, 0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000, 0xfffffffc,
  0xffffffff,
];

/** One to eight changes, most of them where pointers and counts stand: on 4-byte boundaries. */
export function mutate(bytes: Buffer, random: Random): Buffer {
  let mutated = Buffer.from(bytes);
  for (let changes = 1 + random(8); changes > 0 && mutated.length >= 8; changes--) {
    const half = random(mutated.length >> 2) * 4;
    const word = random(mutated.length >> 3) * 8;
    switch (random(8)) {
      case 0:
        mutated[random(mutated.length)] = random(256);
        break;
      case 1:
        mutated.writeUInt8((mutated[half] ?? 0) ^ (1 << random(8)), half);
        break;
      case 2:
      case 3:
        mutated.writeUInt32LE(INTERESTING[random(INTERESTING.length)] ?? 0, half);
        break;
      case 4:
        mutated.writeUInt32LE((mutated.readUInt32LE(half) + random(17) - 8) >>> 0, half);
        break;
      case 5:
        mutated.copy(mutated, word, random(mutated.length >> 3) * 8, random(mutated.length >> 3) * 8);
        break;
      case 6:
        mutated = mutated.subarray(0, random(mutated.length));
        break;
      default:
        mutated = Buffer.concat([mutated.subarray(0, word), mutated.subarray(random(mutated.length))]);
    }
  }
  return mutated;
}

/** Decodes; a value that comes out is written and read again. Throws unless it is a value or a CapnpError. */
function decode<T>(type: StructType<T>, bytes: Buffer): boolean {
  let value: T;
  try {
    const { frame } = new FrameSplitter(MAX_CONNECT_MESSAGE_BYTES).next(bytes, 0);
    if (frame === undefined) return false;
    value = decodeMessage(type, frame);
  } catch (error) {
    if (error instanceof CapnpError) return false;
    throw error;
  }
  const again = new FrameSplitter(64 * 1024 * 1024).next(encodeMessage(type, value), 0);
  if (again.frame === undefined) throw new Error("what was written is not whole");
  expect(decodeMessage(type, again.frame)).toEqual(value);
  return true;
}

export interface Tally {
  readonly accepted: number;
  readonly refused: number;
}

export function fuzzMessages(count: number, seed: number): Tally {
  const random = seeded(seed);
  const request = hexFile("connect-request-936.hex");
  const multisegment = hexFile("connect-request-multisegment.hex");
  const call = encodeMessage(registerConnectionParamsType, {
    auth: { accountTag: "account", tunnelSecret: new Uint8Array(32) },
    tunnelId: new Uint8Array(16),
    connIndex: 1,
    options: {
      client: { clientId: new Uint8Array(16), features: ["a", "bc", "def"], version: "1", arch: "x" },
      originLocalIp: new Uint8Array(16),
      replaceExisting: true,
      compressionQuality: 0,
      numPreviousAttempts: 2,
    },
  });
  const results = encodeMessage(registerConnectionResultsType, {
    result: { kind: "error", error: { cause: "later", retryAfter: 5n, shouldRetry: true } },
  });
  const session = encodeMessage(registerUdpSessionParamsType, {
    sessionId: new Uint8Array(16),
    dstIp: new Uint8Array(4),
    dstPort: 53,
    closeAfterIdleHint: 1n,
    traceContext: "trace",
  });
  const subjects: ((random: Random) => boolean)[] = [
    (random) => decode(connectRequestType, mutate(request, random)),
    (random) => decode(connectResponseType, mutate(request, random)),
    (random) => decode(connectRequestType, mutate(multisegment, random)),
    (random) => decode(registerConnectionParamsType, mutate(Buffer.from(call), random)),
    (random) => decode(registerConnectionResultsType, mutate(Buffer.from(results), random)),
    (random) => decode(registerUdpSessionParamsType, mutate(Buffer.from(session), random)),
  ];
  let accepted = 0;
  for (let i = 0; i < count; i++) if (subjects[i % subjects.length]?.(random) === true) accepted++;
  return { accepted, refused: count - accepted };
}

/** Delivers a sequence of which some messages are mutated, in pieces of any size. */
function deliver(channel: ScriptedChannel, messages: readonly Buffer[], random: Random): void {
  const bytes = Buffer.concat(
    messages.map((bytes) => (random(3) === 0 ? mutate(bytes, random) : bytes)).filter(() => random(20) > 0),
  );
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random(1 + random(600));
    channel.deliver(bytes.subarray(at, at + length));
    at += length;
  }
}

const params: RegistrationParams = {
  accountTag: "account",
  tunnelSecret: new Uint8Array(32),
  tunnelId: "11111111-2222-3333-4444-555555555555",
  connIndex: 0,
  clientId: "11111111-2222-3333-4444-555555555555",
  features: [],
  version: "1",
  arch: "x",
  originLocalIp: undefined,
  replaceExisting: false,
  numPreviousAttempts: 0,
};

/** Connections that got a mutated sequence: how many stood it. Each must have ended in order or with RpcError. */
export async function fuzzConnections(count: number, seed: number): Promise<Tally> {
  const random = seeded(seed);
  const fromConnector = stream.filter(({ from }) => from === "connector").map(({ bytes }) => bytes);
  const fromEdge = stream.filter(({ from }) => from === "edge").map(({ bytes }) => bytes);
  let accepted = 0;
  for (let i = 0; i < count; i++) {
    const channel = new ScriptedChannel();
    let ended: Promise<Error | undefined>;
    let close: () => void;
    const calls: Promise<unknown>[] = [];
    if (i % 2 === 0) {
      const server = serveRegistration(channel, {
        registerConnection: () => ({ kind: "refused", cause: "no", shouldRetry: false, retryAfterMs: 0 }),
        updateLocalConfiguration: () => undefined,
        unregisterConnection: () => Promise.resolve(),
      });
      ({ ended } = server);
      close = () => server.close();
      deliver(channel, fromConnector.slice(0, -1), random);
    } else {
      const client = createRegistrationClient(channel);
      ({ ended } = client);
      close = () => client.close();
      const options = { timeoutMs: 60_000 };
      calls.push(client.register(params, options), client.updateLocalConfiguration(new Uint8Array(9), options));
      deliver(channel, fromEdge, random);
    }
    const outcomes = Promise.allSettled(calls);
    await settled();
    if (!channel.ended) accepted++;
    close();
    if (random(2) === 0) channel.onEnd(new Error("reset"));
    for (const outcome of await outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(RpcError);
    const error = await ended;
    if (error !== undefined) expect(error).toBeInstanceOf(RpcError);
    expect(channel.ended).toBe(true);
  }
  return { accepted, refused: count - accepted };
}

/** Runs `work`; fails on an unhandled rejection, and on memory that does not come back. */
export async function watched<T>(work: () => T | Promise<T>): Promise<T> {
  const rejections: unknown[] = [];
  const listen = (reason: unknown): void => void rejections.push(reason);
  process.on("unhandledRejection", listen);
  const before = process.memoryUsage().rss;
  try {
    return await work();
  } finally {
    await settled();
    process.off("unhandledRejection", listen);
    expect(rejections).toStrictEqual([]);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  }
}
