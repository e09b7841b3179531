/** The long forms of the proxy's tests: gigabytes through a slow reader within bounded memory, and many more hostile answers. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { FakeStream, httpRequest } from "../proxy/fake-stream.ts";
import { Cleanup } from "../proxy/harness.ts";
import { collect } from "../protocol/http1/collect.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const GIGABYTE = 1024 ** 3;
const MEMORY_BOUND = 64 * 1024 ** 2;

/** Counts instead of keeping. */
class CountingStream extends FakeStream {
  received = 0;

  override write(chunk: Buffer, last: boolean): boolean {
    this.received += chunk.length;
    const writable = super.write(chunk, last);
    this.chunks.length = 0;
    return writable;
  }
}

/** An origin in a process of its own, whose memory is its own, too: GET answers with a gigabyte, POST with the number of bytes that came. */
async function gigabyteOrigin(): Promise<URL> {
  const script = `
    const chunk = Buffer.alloc(65536, "g");
    require("node:http").createServer((request, response) => {
      let received = 0;
      request.on("data", (data) => { received += data.length; });
      request.on("end", () => {
        if (request.method === "POST") return response.end(String(received));
        let left = ${GIGABYTE};
        response.writeHead(200, { "Content-Length": left });
        const pump = () => {
          while (left > 0) {
            left -= chunk.length;
            if (!response.write(chunk)) return response.once("drain", pump);
          }
          response.end();
        };
        pump();
      });
    }).listen(0, "127.0.0.1", function () { console.log(this.address().port); });`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  cleanup.add(child, (each) => each.kill("SIGKILL"));
  const [port] = (await once(child.stdout, "data")) as [Buffer];
  return new URL(`http://127.0.0.1:${port.toString().trim()}`);
}

describe("a gigabyte", () => {
  it("down through a visitor with a small window costs no memory", { timeout: 300_000 }, async () => {
    const harness = cleanup.harness({ kind: "url", url: await gigabyteOrigin() });
    const stream = new CountingStream({ bodyless: true, window: 65_536 });
    const before = process.memoryUsage().rss;
    let peak = before;
    harness.proxy.handle(httpRequest(stream), 0);
    while (!stream.ended) {
      await stream.until(({ blocked, ended }) => blocked || ended);
      peak = Math.max(peak, process.memoryUsage().rss);
      stream.drain();
    }
    expect(stream.received).toBe(GIGABYTE);
    expect(peak - before).toBeLessThan(MEMORY_BOUND);
  });

  it("up within a window costs no memory", { timeout: 300_000 }, async () => {
    const harness = cleanup.harness({ kind: "url", url: await gigabyteOrigin() });
    const stream = new CountingStream();
    const before = process.memoryUsage().rss;
    let peak = before;
    const chunk = Buffer.alloc(16_384, "u");
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    while (stream.given < GIGABYTE) {
      while (stream.given < GIGABYTE && stream.given - stream.credited < 1_048_576) stream.give(chunk);
      peak = Math.max(peak, process.memoryUsage().rss);
      await new Promise(setImmediate);
    }
    stream.giveEnd();
    await stream.done();
    expect(stream.received).toBe(String(GIGABYTE).length);
    expect(peak - before).toBeLessThan(MEMORY_BOUND);
  });
});

describe("ResponseParser", () => {
  it("holds on 100,000 mutations of a valid response", { timeout: 300_000 }, () => {
    const valid = Buffer.from(
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n0\r\nX-T: u\r\n\r\n",
      "latin1",
    );
    const edit = fc.tuple(
      fc.nat(valid.length - 1),
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom("set", "insert", "delete"),
    );
    fc.assert(
      fc.property(
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(valid.length), { maxLength: 5 }),
        (edits, cuts) => {
          let bytes = Buffer.from(valid);
          for (const [at, byte, kind] of edits) {
            const [head, tail] = [bytes.subarray(0, at), bytes.subarray(kind === "insert" ? at : at + 1)];
            bytes = Buffer.concat(kind === "delete" ? [head, tail] : [head, Buffer.from([byte]), tail]);
          }
          const whole = collect(bytes, { close: true });
          const cut = collect(bytes, { close: true, cuts: [...cuts].sort((a, b) => a - b) });
          expect(cut.error).toBe(whole.error);
          if (whole.error === undefined) expect(cut).toEqual(whole);
        },
      ),
      { numRuns: 100_000 },
    );
  });
});
