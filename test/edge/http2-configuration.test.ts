/** The envelope of a pushed configuration: what is handed on, what is answered, and that no bytes do more than that. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { receiveConfiguration } from "../../src/edge/http2-configuration.ts";
import type { ConfigurationUpdate } from "../../src/types.ts";
import { FakeStream } from "../proxy/fake-stream.ts";

function push(body: Buffer, chunkBytes = Number.POSITIVE_INFINITY) {
  const updates: ConfigurationUpdate[] = [];
  const stream = new FakeStream({ bodyless: body.length === 0 });
  receiveConfiguration(stream, (update) => updates.push(update));
  for (let at = 0; at < body.length; at += chunkBytes) stream.give(body.subarray(at, at + chunkBytes));
  if (body.length > 0) stream.giveEnd();
  return { stream, updates };
}

describe("a pushed configuration", () => {
  it.each([1, 7, undefined])(
    "is handed on when its body has ended, in chunks of %s bytes, and answered once",
    (size) => {
      const { stream, updates } = push(Buffer.from('{"version":3,"config":{"ingress":["ü"]}}'), size);
      expect(updates).toMatchObject([{ kind: "configuration", version: 3, config: { ingress: ["ü"] } }]);
      expect(stream.head).toBeUndefined();
      updates[0]?.reply(3);
      expect(stream.head).toEqual({ status: 200, headers: [], contentLength: 35, source: "to-edge" });
      expect([stream.body.toString(), stream.ended]).toEqual(['{"lastAppliedVersion":3,"err":null}', true]);
    },
  );

  it("is answered with the reason as text", () => {
    const { stream, updates } = push(Buffer.from('{"version":3}'));
    expect(updates[0]?.config).toBeUndefined();
    updates[0]?.reply(-1, 'no "ingress"');
    expect(JSON.parse(stream.body.toString())).toEqual({ lastAppliedVersion: -1, err: 'no "ingress"' });
  });

  it.each(["{}", "null", '{"version":null}', '{"config":null}', '{"versions":4}'])("%s is version 0", (body) => {
    expect(push(Buffer.from(body)).updates).toMatchObject([{ version: 0 }]);
  });

  it.each([
    "",
    "{",
    "[]",
    "1",
    '"x"',
    "true",
    '{"version":"1"}',
    '{"version":1.5}',
    '{"version":2147483648}',
    '{"version":[]}',
  ])("%j is refused", (body) => {
    const { stream, updates } = push(Buffer.from(body));
    expect([updates.length, stream.aborted]).toEqual([0, true]);
  });

  it("longer than 16 MiB is broken off, and not kept", () => {
    const stream = new FakeStream();
    const updates: unknown[] = [];
    receiveConfiguration(stream, (update) => updates.push(update));
    const chunk = Buffer.alloc(1 << 20, 0x20);
    for (let i = 0; i < 16; i++) stream.give(chunk);
    expect(stream.aborted).toBe(false);
    stream.give("{}");
    expect(stream.aborted).toBe(true);
    stream.giveEnd();
    expect(updates).toEqual([]);
  });

  it("of any bytes is either handed on or refused", () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .record(
          { version: fc.oneof(fc.maxSafeInteger(), fc.jsonValue()), config: fc.jsonValue() },
          { requiredKeys: [] },
        )
        .map((value) => Buffer.from(JSON.stringify(value))),
    );
    fc.assert(
      fc.property(body, fc.integer({ min: 1, max: 9 }), (bytes, size) => {
        const { stream, updates } = push(bytes, size);
        expect(updates.length + Number(stream.aborted)).toBe(1);
        for (const { version } of updates) expect(version | 0).toBe(version);
        updates[0]?.reply(1, "x");
      }),
      { numRuns: 500 },
    );
  });
});
