/** RFC 9000 § 10.3. */
import { createSecretKey, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  isStatelessReset,
  statelessResetToken,
  writeStatelessReset,
} from "../../../src/protocol/quic/stateless-reset.ts";

describe("stateless reset", () => {
  const key = createSecretKey(randomBytes(32));
  const id = randomBytes(8);
  const token = statelessResetToken(key, id);

  it("has a token for each id, the same whenever it is asked for", () => {
    expect(token).toHaveLength(16);
    expect(statelessResetToken(key, id)).toEqual(token);
    expect(statelessResetToken(key, randomBytes(8))).not.toEqual(token);
  });

  it("looks like a short packet, and is always shorter than what it answers", () => {
    for (const [received, length] of [
      [1200, 42],
      [43, 42],
      [42, 41],
      [22, 21],
    ] as const) {
      const reset = writeStatelessReset(token, received, randomBytes);
      expect(reset).toHaveLength(length);
      expect((reset?.[0] as number) >>> 6).toBe(1);
      expect(isStatelessReset(reset as Buffer, [randomBytes(16), token])).toBe(true);
      expect(isStatelessReset(reset as Buffer, [randomBytes(16)])).toBe(false);
    }
    expect(writeStatelessReset(token, 21, randomBytes)).toBeUndefined();
  });

  it("is none without a token, or below 21 bytes", () => {
    expect(isStatelessReset(Buffer.concat([Buffer.alloc(5, 0x40), token]), [])).toBe(false);
    expect(isStatelessReset(Buffer.concat([Buffer.alloc(4, 0x40), token]), [token])).toBe(false);
  });
});
