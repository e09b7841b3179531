/** The caller's read buffer is overwritten by the next read: nothing that is kept between two reads may be a view of it. */
import { expect, it } from "vitest";
import { createHttp2Client } from "../../../src/protocol/http2/client.ts";
import { createHttp2Server } from "../../../src/protocol/http2/server.ts";
import type { RequestHead } from "../../../src/protocol/http2/types.ts";

it.each([1, 7, 9, 100, 16_384])("a head in CONTINUATION frames, read %i bytes at a time", (size) => {
  const heads: RequestHead[] = [];
  const bodies: string[] = [];
  const server = createHttp2Server(
    {},
    {
      onOutput() {},
      onRequest: (stream, head) => {
        heads.push(head);
        stream.handler = {
          onData: (chunk) => bodies.push(chunk.toString()),
          onEnd() {},
          onCancel() {},
          onWritable() {},
        };
      },
      onError: (error) => {
        throw error;
      },
    },
    0,
  );
  const client = createHttp2Client({}, { onOutput() {}, onError() {} }, 0);
  // Without the server's SETTINGS the client splits at 16 KiB.
  const value = "abcdefgh".repeat(5_000);
  const stream = client.request(
    (encoder) => {
      encoder.pseudo("POST", "https", "example.com", "/");
      encoder.field("x-long", value, "name");
    },
    false,
    { onData() {}, onEnd() {}, onCancel() {}, onWritable() {} },
  );
  stream?.write(Buffer.from("the body"), true);
  const buffer = Buffer.alloc(size);
  for (let output = client.takeOutput(); output !== undefined; output = client.takeOutput()) {
    for (let at = 0; at < output.length; at += size) {
      const read = output.copy(buffer, 0, at, Math.min(output.length, at + size));
      server.receive(buffer.subarray(0, read), 0);
      buffer.fill(0xff);
    }
  }
  expect(heads[0]?.fields.map((field) => field.value)).toEqual([value]);
  expect(bodies.join("")).toBe("the body");
});
