/** An Initial that refuses a connection without making one (RFC 9000 §§ 5.2.2, 8.1.2). */
import { DatagramBuilder } from "./connection/datagram-builder.ts";
import { Keyring } from "./connection/keyring.ts";
import { FrameType } from "./frames.ts";
import type { HeaderIds } from "./header.ts";
import { MIN_DATAGRAM_SIZE } from "./limits.ts";
import { Space } from "./packet-number.ts";

const NO_REASON = Buffer.alloc(0);

/** `ids` are those of the client's Initial, turned around. */
export function writeRefusal(ids: HeaderIds, errorCode: number): Buffer {
  const keys = new Keyring();
  keys.installInitial("server", ids.source);
  const builder = new DatagramBuilder(keys);
  builder.begin(MIN_DATAGRAM_SIZE);
  builder.open(Space.initial, ids, undefined, 0, -1, 0);
  builder.writer.connectionClose(errorCode, FrameType.PADDING, NO_REASON);
  builder.close();
  return builder.finish(0);
}
