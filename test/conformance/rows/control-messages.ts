/** The connector's messages on the control stream, seen as they come. */
import type { ByteChannel } from "../../../src/types.ts";

const KINDS: Readonly<Record<number, string>> = {
  0: "unimplemented",
  1: "abort",
  2: "call",
  3: "return",
  4: "finish",
  6: "release",
  8: "bootstrap",
};

export interface ControlLog {
  /** Kinds of messages, in order. */
  readonly messages: string[];
  /** What the call was made on: `promisedAnswer` or `importedCap`. */
  readonly targets: string[];
  ended: boolean;
}

/**
 * Follows a byte stream of Cap'n Proto messages of one segment: | segments - 1 (4) | words (4) | the words |. The root pointer's
 * offset leads to the struct whose first two bytes are the message's kind.
 */
function watchMessages(onMessage: (kind: string, words: Buffer) => void): (chunk: Uint8Array) => void {
  let buffered = Buffer.alloc(0);
  return (chunk) => {
    buffered = Buffer.concat([buffered, chunk]);
    while (buffered.length >= 8) {
      const length = 8 + buffered.readUInt32LE(4) * 8;
      if (buffered.length < length) return;
      const words = buffered.subarray(8, length);
      buffered = buffered.subarray(length);
      const root = 8 + (words.readInt32LE(0) >> 2) * 8;
      onMessage(KINDS[words.readUInt16LE(root)] ?? "other", words);
    }
  };
}

/** Only looks on: what `channel` receives goes on to whoever has set its handlers before. */
export function logMessages(channel: ByteChannel): ControlLog {
  const log: ControlLog = { messages: [], targets: [], ended: false };
  const { onData, onEnd } = channel;
  const watch = watchMessages((kind, words) => {
    log.messages.push(kind);
    if (kind !== "call") return;
    const body = structAt(words, 8 + (words.readInt32LE(0) >> 2) * 8 + 8);
    const target = structAt(words, body + 3 * 8);
    log.targets.push(words.readUInt16LE(target + 4) === 0 ? "importedCap" : "promisedAnswer");
  });
  channel.onData = (chunk) => {
    watch(chunk);
    onData(chunk);
  };
  channel.onEnd = (error) => {
    log.ended = true;
    onEnd(error);
  };
  return log;
}

/** Where the struct begins that the pointer at `at` leads to. */
function structAt(words: Buffer, at: number): number {
  return at + 8 + (words.readInt32LE(at) >> 2) * 8;
}
