/** Through real sockets: whatever an origin writes, each request has one outcome, and a broken answer never looks complete. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FakeStream, httpRequest } from "../proxy/fake-stream.ts";
import { Cleanup, type Harness, type RawOrigin, urlOrigin } from "../proxy/harness.ts";
import { collect, pieces } from "../protocol/http1/collect.ts";

const cleanup = new Cleanup();
let hostile: RawOrigin;
let script: { bytes: Buffer; cuts: readonly number[]; end: "fin" | "reset" } = {
  bytes: Buffer.alloc(0),
  cuts: [],
  end: "fin",
};
let harness: Harness;
beforeAll(async () => {
  hostile = await cleanup.raw((connection) => {
    connection.socket.setNoDelay(true);
    void connection.head().then(async () => {
      const { bytes, cuts, end } = script;
      for (const piece of pieces(bytes, cuts)) {
        connection.write(piece);
        await new Promise(setImmediate);
      }
      if (end === "fin") connection.socket.end();
      else connection.socket.resetAndDestroy();
    });
  });
  // Each connection carries one answer, so that what stands behind it reaches no other request.
  harness = cleanup.harness(urlOrigin(hostile.server), { keepAliveConnections: -1 });
});
afterAll(() => cleanup.run());

const PIECES = [
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.1 204 No Content\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "X-A: b\r\n",
  "\r\n",
  "5\r\nhello\r\n",
  "0\r\n\r\n",
  "0\r\nX-T: u\r\n\r\n",
  "hello",
  "\n",
  "\0",
];

describe("an origin that writes anything", () => {
  it("gets an outcome for each request, equal to what the parser makes of the bytes", async () => {
    let requests = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...PIECES), { maxLength: 10 }).map((parts) => Buffer.from(parts.join(""), "latin1")),
        fc.array(fc.nat(120), { maxLength: 4 }),
        fc.constantFrom("fin" as const, "reset" as const),
        async (bytes, cuts, end) => {
          script = { bytes, cuts: [...cuts].sort((a, b) => a - b), end };
          const expected = collect(bytes, { close: true });
          const stream = new FakeStream({ bodyless: true });
          harness.proxy.handle(httpRequest(stream), 0);
          await stream.done();
          requests++;
          const outcome = await harness.outcome(requests);
          expect(stream.ended).toBe(!stream.aborted);
          expect(outcome.class === "ok").toBe(stream.ended);
          if (end === "fin") {
            expect(stream.ended).toBe(expected.complete);
            if (expected.complete) expect(stream.body.toString("latin1")).toBe(expected.body);
          }
          // A reset may overtake the answer, but never completes one.
          if (!expected.complete) expect(stream.aborted).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
    expect(harness.outcomes).toHaveLength(requests);
    expect(harness.proxy.activeRequests).toBe(0);
  });
});

describe("a body in frames of any size, at any time", () => {
  it("reaches the origin whole, with every byte credited", async () => {
    const origin = await cleanup.http((request, response) => {
      const hash = createHash("sha256");
      request.on("data", (chunk: Buffer) => hash.update(chunk));
      request.on("end", () => response.end(hash.digest("hex")));
    });
    const uploads = cleanup.harness(urlOrigin(origin));
    const size = fc.oneof(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 4_000, max: 4_200 }),
      fc.integer({ min: 16_000, max: 140_000 }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(size, fc.boolean()), { maxLength: 12 }),
        fc.boolean(),
        async (frames, chunked) => {
          const hash = createHash("sha256");
          const total = frames.reduce((sum, [length]) => sum + length, 0);
          const stream = new FakeStream();
          const request = { method: "POST", ...(chunked ? {} : { contentLength: total }) };
          uploads.proxy.handle(httpRequest(stream, request), 0);
          for (const [length, wait] of frames) {
            const chunk = Buffer.alloc(length, length % 256);
            hash.update(chunk);
            stream.give(chunk);
            if (wait) await new Promise(setImmediate);
          }
          stream.giveEnd();
          await stream.done();
          expect(stream.body.toString()).toBe(hash.digest("hex"));
          expect(stream.credited).toBe(total);
        },
      ),
      { numRuns: 100 },
    );
  });
});
