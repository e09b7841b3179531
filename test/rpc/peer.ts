/** A served connection whose peer is the test, which may send it anything. */
import { afterEach, expect } from "vitest";
import { emptyType } from "../../src/protocol/capnp/struct-type.ts";
import { encodeMessage, type StructWriter } from "../../src/protocol/capnp/writer.ts";
import { implement } from "../../src/rpc/callee.ts";
import { RpcConnection } from "../../src/rpc/connection.ts";
import { callMessage, resultsMessage } from "../../src/rpc/message-writing.ts";
import type { MessageTarget } from "../../src/rpc/messages.ts";
import { unregisterConnection } from "../../src/rpc/methods.ts";
import { ScriptedChannel, settled } from "./channels.ts";

export const { interfaceId, methodId } = unregisterConnection;
export const BOOTSTRAPPED: MessageTarget = { kind: "promisedAnswer", questionId: 0, direct: true };
export const CAPABILITY: MessageTarget = { kind: "importedCap", id: 0 };

/** Closed after each test, with their timers. */
export const connections: RpcConnection[] = [];
afterEach(() => {
  for (const connection of connections.splice(0)) connection.close();
});

/** A server of one method that answers at once, unless `handler` says otherwise. */
export function serve(handler: (signal: AbortSignal) => void | Promise<void> = () => undefined) {
  const channel = new ScriptedChannel();
  const connection = new RpcConnection(channel, [implement(unregisterConnection, (_, signal) => handler(signal))]);
  connections.push(connection);
  const exchange = async (...frames: readonly Uint8Array[]): Promise<string[]> => {
    for (const frame of frames) channel.deliver(frame);
    await settled();
    return channel.take();
  };
  return { channel, connection, exchange };
}

export function call(questionId: number, target: MessageTarget = BOOTSTRAPPED): Uint8Array {
  return callMessage({ questionId, interfaceId, methodId, target }, emptyType, undefined);
}

export function rpcMessage(kind: number, body: (struct: StructWriter) => void): Uint8Array {
  const write = (struct: StructWriter): void => {
    struct.uint16(0, kind);
    body(struct);
  };
  return encodeMessage({ dataWords: 1, pointers: 1, write }, undefined);
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
export const answered = (id: number): string => hex(resultsMessage(id, false, emptyType, undefined));
const abortReason = (frame: string | undefined): string | undefined => {
  const bytes = Buffer.from(frame ?? "", "hex");
  // Message kind 1, then the Exception's reason.
  if (bytes[16] !== 1) return undefined;
  return bytes.subarray(48, 48 + (bytes.readUInt32LE(44) >>> 3) - 1).toString();
};

export async function aborts(
  peer: ReturnType<typeof serve>,
  reason: string,
  ...frames: readonly Uint8Array[]
): Promise<void> {
  const sent = await peer.exchange(...frames);
  expect(abortReason(sent.at(-1))).toContain(reason);
  expect(peer.channel.ended).toBe(true);
  expect(await peer.connection.ended).toMatchObject({ message: expect.stringContaining(reason) });
}
