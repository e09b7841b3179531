import type { Transport } from "capnp-ts";
import type { ByteChannel } from "../../src/types.ts";
import { framesOf } from "../protocol/capnp/frames.ts";

/** What capnp-ts wants of a stream: whole messages. */
export function transport(channel: ByteChannel): Transport {
  return {
    close: () => channel.end(),
    onClose(callback) {
      channel.onEnd = callback;
    },
    onMessage(callback) {
      let pending: Uint8Array = new Uint8Array(0);
      channel.onData = (chunk) => {
        pending = Buffer.concat([pending, chunk]);
        const frames = framesOf([pending]);
        pending = pending.subarray(frames.reduce((sum, frame) => sum + frame.length, 0));
        for (const frame of frames) callback(new Uint8Array(frame));
      };
    },
    send: (bytes) => channel.write(bytes),
  };
}
