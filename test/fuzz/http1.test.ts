/** Whatever an origin sends, the parser returns or throws its own error; and how the bytes are cut changes nothing. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Collected, collect } from "../protocol/http1/collect.ts";

/** Pieces that HTTP responses are made of, valid and not. */
const PIECES = [
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.0 200 OK\r\n",
  "HTTP/1.1 204 No Content\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\n",
  "HTTP/1.1 304 Not Modified\r\n",
  "Content-Length: 5\r\n",
  "Content-Length: 0\r\n",
  "Content-Length: 5, 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: gzip\r\n",
  "Connection: close\r\n",
  "Connection: keep-alive\r\n",
  "Keep-Alive: timeout=5\r\n",
  "Trailer: X\r\n",
  "Set-Cookie: a=b\r\n",
  "X-A: b\r\n",
  " folded\r\n",
  "no colon\r\n",
  "\r\n",
  "\n",
  "\r",
  "\0",
  "5\r\nhello\r\n",
  "5;ext=1\r\nhello\r\n",
  "0\r\n",
  "0\r\n\r\n",
  "hello",
  "ffffffffffffffff\r\n",
];

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
  fc.array(fc.constantFrom(...PIECES), { maxLength: 15 }).map((parts) => Buffer.from(parts.join(""), "latin1")),
  fc
    .tuple(
      fc.array(fc.constantFrom(...PIECES), { minLength: 1, maxLength: 12 }),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
    )
    .map(([parts, at, byte]) => {
      const mutated = Buffer.from(parts.join(""), "latin1");
      mutated[at % mutated.length] = byte;
      return mutated;
    }),
);
const method = fc.constantFrom("GET", "HEAD", "POST", "CONNECT");

/** What was read until an error may differ with the cuts; what was concluded may not. */
function conclusion({ error, complete, ...rest }: Collected): unknown {
  if (error !== undefined) return { error };
  return { complete, ...rest };
}

describe("ResponseParser", () => {
  it("throws nothing but its own errors, and comes to the same conclusion however the bytes are cut", () => {
    fc.assert(
      fc.property(
        bytes,
        method,
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.nat(200), { maxLength: 12 }),
        (input, verb, upgrade, close, cuts) => {
          const whole = collect(input, { method: verb, upgrade, close });
          const cut = collect(input, { method: verb, upgrade, close, cuts: [...cuts].sort((a, b) => a - b) });
          const single = collect(input, {
            method: verb,
            upgrade,
            close,
            cuts: Array.from({ length: input.length }, (_, at) => at),
          });
          expect(conclusion(cut)).toEqual(conclusion(whole));
          expect(conclusion(single)).toEqual(conclusion(whole));
          if (whole.error !== undefined)
            expect(whole.error).toMatch(/^ERR_UNDERPASS_HTTP1_(MALFORMED|LIMIT|TRUNCATED)$/);
          // Body bytes never come from nowhere.
          expect(whole.body.length).toBeLessThanOrEqual(input.length);
        },
      ),
      { numRuns: 3_000 },
    );
  });
});
