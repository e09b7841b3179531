import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { HeaderBatch } from "../../../src/protocol/quic/header-batch.ts";
import { HeaderKey, SUITES } from "../../../src/protocol/quic/protection.ts";

describe("headers protected together", () => {
  it.each(Object.keys(SUITES) as (keyof typeof SUITES)[])("are what each alone would be (%s)", (name) => {
    const suite = SUITES[name];
    const key = new HeaderKey(suite, randomBytes(suite.keyLength));
    const batch = new HeaderBatch(8);
    // Two blocks, packets at odd places, every length of a packet number; a second burst of fewer.
    for (const count of [8, 3]) {
      const blocks = [randomBytes(400), randomBytes(400)] as const;
      const expected = blocks.map((block) => Buffer.from(block));
      for (let i = 0; i < count; i++) {
        const start = 7 + 90 * (i >> 1);
        const numberStart = start + 9;
        const numberLength = (i % 4) + 1;
        const block = blocks[i % 2] as Buffer;
        block[start] = 0x40 | (numberLength - 1);
        (expected[i % 2] as Buffer)[start] = 0x40 | (numberLength - 1);
        batch.add(block, start, numberStart, numberLength);
        key.protect(expected[i % 2] as Buffer, start, numberStart, numberLength);
      }
      expect(batch.size).toBe(count);
      batch.protect(key);
      expect(batch.size).toBe(0);
      expect(blocks).toEqual(expected);
    }
  });

  it("forget those of a burst that was broken off", () => {
    const key = new HeaderKey(SUITES.TLS_AES_128_GCM_SHA256, randomBytes(16));
    const batch = new HeaderBatch(2);
    const bytes = randomBytes(64);
    const before = Buffer.from(bytes);
    batch.add(bytes, 0, 9, 2);
    batch.clear();
    batch.protect(key);
    expect(bytes).toEqual(before);
  });
});
