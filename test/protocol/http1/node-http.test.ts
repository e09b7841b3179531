/** node:http as an independent reader: for valid responses both must find the same status, fields, body and trailers. */
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect } from "./collect.ts";

let server: net.Server;
let answer: Buffer = Buffer.alloc(0);
let port = 0;
beforeAll(async () => {
  server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address !== null && typeof address === "object") port = address.port;
});
afterAll(() => {
  server.close();
});

interface Read {
  status: number | undefined;
  fields: string[];
  body: string;
  trailers: string[];
}

function pairs(raw: readonly string[]): string[] {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${raw[at + 1]}`] : []));
}

async function readWithNode(bytes: Buffer, method: string): Promise<Read> {
  answer = bytes;
  const request = http.request({ port, host: "127.0.0.1", method, agent: false });
  request.end();
  const [response]: unknown[] = await once(request, "response");
  if (!(response instanceof http.IncomingMessage)) throw new Error("unreachable");
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return {
    status: response.statusCode,
    fields: pairs(response.rawHeaders),
    body: Buffer.concat(chunks).toString("latin1"),
    trailers: pairs(response.rawTrailers),
  };
}

const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9!#$&'*+.^_`|~-]{0,20}$/);
const value = fc.stringMatching(/^([\x21-\x7e\x80-\xff]([\x20-\x7e\t\x80-\xff]{0,40}[\x21-\x7e\x80-\xff])?)?$/);
const RESERVED = /^(content-length|transfer-encoding|connection|keep-alive|trailer|upgrade|proxy-connection)$/i;
const field = fc.tuple(token, value).filter(([name]) => !RESERVED.test(name));
const body = fc.uint8Array({ maxLength: 300 });

interface Message {
  readonly status: number;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
  readonly framing: "length" | "chunked" | "close";
  readonly sizes: readonly number[];
  readonly trailers: readonly (readonly [string, string])[];
}

const message: fc.Arbitrary<Message> = fc.record({
  status: fc.integer({ min: 200, max: 599 }),
  fields: fc.array(field, { maxLength: 12 }),
  body,
  framing: fc.constantFrom("length", "chunked", "close"),
  sizes: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 10 }),
  trailers: fc.array(field, { maxLength: 3 }),
});

function lines(fields: Message["fields"]): string {
  return fields.map(([name, text]) => `${name}: ${text}\r\n`).join("");
}

function serialise(each: Message, bodyless: boolean): Buffer {
  const head = `HTTP/1.1 ${each.status} Reason\r\n${lines(each.fields)}`;
  const content = Buffer.from(each.body);
  if (bodyless) {
    // What a body would have said of itself, and no body.
    const framing = {
      length: `Content-Length: ${content.length}\r\n`,
      chunked: "Transfer-Encoding: chunked\r\n",
      close: "",
    };
    return Buffer.from(`${head}${framing[each.framing]}\r\n`, "latin1");
  }
  if (each.framing === "length")
    return Buffer.concat([Buffer.from(`${head}Content-Length: ${content.length}\r\n\r\n`, "latin1"), content]);
  if (each.framing === "close") return Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), content]);
  const parts = [Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`, "latin1")];
  for (let at = 0, i = 0; at < content.length; i++) {
    const size = each.sizes[i % each.sizes.length] ?? 1;
    const chunk = content.subarray(at, at + size);
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n"));
    at += size;
  }
  parts.push(Buffer.from(`0\r\n${lines(each.trailers)}\r\n`, "latin1"));
  return Buffer.concat(parts);
}

describe("a valid response", () => {
  it("is read as node:http reads it", async () => {
    await fc.assert(
      fc.asyncProperty(message, fc.constantFrom("GET", "HEAD", "POST"), async (each, method) => {
        const bytes = serialise(each, method === "HEAD" || each.status === 204 || each.status === 304);
        const ours = collect(bytes, { method, close: true });
        const theirs = await readWithNode(bytes, method);
        expect(ours.error).toBeUndefined();
        expect(ours.complete).toBe(true);
        expect(ours.status).toBe(theirs.status);
        expect(ours.body).toBe(theirs.body);
        expect(ours.trailers).toEqual(theirs.trailers);
        // The framing consumes Transfer-Encoding; node:http shows it.
        expect(ours.fields).toEqual(theirs.fields.filter((line) => !/^transfer-encoding:/i.test(line)));
      }),
      { numRuns: 300 },
    );
  });
});
