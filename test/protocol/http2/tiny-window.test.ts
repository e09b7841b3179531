/** A stream window of one byte: slow, but no reason for an error. */
import { expect, it } from "vitest";
import { createPair, get, recorder } from "./pair.ts";

it("carries an answer byte by byte", () => {
  const pair = createPair({ client: { initialWindowSize: 1 } });
  const { received, handler } = recorder();
  const stream = pair.client.request(get("/"), true, {
    ...handler,
    onData: (chunk) => {
      handler.onData(chunk);
      stream?.consumed(chunk.length);
    },
  });
  pair.settle();
  const served = pair.served[0]?.stream;
  served?.headers((encoder) => encoder.status(200), false);
  served?.write(Buffer.from("some bytes"), true);
  pair.settle();
  expect(pair.errors).toEqual({ client: [], server: [] });
  expect({ ...received, chunks: Buffer.concat(received.chunks).toString() }).toMatchObject({
    status: 200,
    chunks: "some bytes",
    ended: true,
  });
});
