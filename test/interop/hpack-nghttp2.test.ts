/** HPACK against nghttp2 (node:http2), on raw frames over loopback: its blocks through our decoder, ours through its. */
import http2 from "node:http2";
import net from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { HpackDecoder } from "../../src/protocol/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../src/protocol/http2/hpack/encoder.ts";
import { type Frame, frame, PREFACE, SETTINGS_ACK, Type } from "../protocol/http2/raw.ts";

type Pairs = [string, string][];
type Server = net.Server | http2.Http2Server;

const servers: Server[] = [];
const sockets: net.Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Calls with each whole frame of a byte stream, behind `skip` bytes. */
function onFrames(socket: net.Socket, skip: number, callback: (frame: Frame) => void): void {
  let left = skip;
  let pending = Buffer.alloc(0);
  sockets.push(socket);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    const skipped = Math.min(left, pending.length);
    left -= skipped;
    let at = skipped;
    while (left === 0 && pending.length - at >= 9 && pending.length - at >= 9 + pending.readUIntBE(at, 3)) {
      const end = at + 9 + pending.readUIntBE(at, 3);
      callback({
        type: pending[at + 3] ?? 0,
        flags: pending[at + 4] ?? 0,
        streamId: pending.readUInt32BE(at + 5),
        payload: pending.subarray(at + 9, end),
      });
      at = end;
    }
    pending = pending.subarray(at);
  });
}

/** Requests that share fields, differ in others, and hold what Huffman makes shorter and longer. */
function request(i: number): Record<string, string> {
  return {
    ":method": i % 3 === 0 ? "POST" : "GET",
    ":path": `/item/${i}?q=${"~|".repeat(i % 7)}`,
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64)",
    accept: "*/*",
    cookie: `session=${"0123456789abcdef".repeat(i % 5)}`,
    [`x-${i % 40}`]: "v".repeat((i * 37) % 400),
    "x-binary": Buffer.from(Array.from({ length: i % 50 }, (_, k) => 0x80 + ((i * 7 + k * 11) % 128))).toString(
      "latin1",
    ),
  };
}

describe("nghttp2's blocks", () => {
  it.each([0, 64, 256, 4096])("are read with a table of %i bytes", async (tableSize) => {
    const decoder = new HpackDecoder(4096);
    const seen: Pairs[] = [];
    let updates = 0;
    const server = net.createServer((socket) => {
      const settings = Buffer.alloc(6);
      settings.writeUInt16BE(1, 0);
      settings.writeUInt32BE(tableSize, 2);
      socket.write(Buffer.concat([frame(Type.SETTINGS, 0, 0, settings), SETTINGS_ACK]));
      onFrames(socket, 24, ({ type, flags, streamId, payload }) => {
        if (type !== Type.HEADERS) return;
        // nghttp2 adds priority fields to none of these, and pads nothing.
        expect(flags & 0x28).toBe(0);
        if (((payload[0] ?? 0) & 0xe0) === 0x20) updates++;
        const pairs: Pairs = [];
        decoder.decode(payload, (field) => pairs.push([field.name, field.value]));
        seen.push(pairs);
        // ":status: 204", end of stream.
        socket.write(frame(Type.HEADERS, 5, streamId, "89"));
      });
    });
    const port = await listen(server);
    const session = http2.connect(`http://127.0.0.1:${port}`);
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    for (let i = 0; i < 120; i++) {
      const stream = session.request(request(i), { endStream: true });
      await new Promise((resolve, reject) => stream.on("response", resolve).on("error", reject));
      stream.resume();
    }
    session.destroy();
    expect(seen).toHaveLength(120);
    for (const [i, pairs] of seen.entries()) {
      const authority: Pairs = [[":authority", `127.0.0.1:${port}`]];
      const scheme: Pairs = [[":scheme", "http"]];
      expect(new Set(pairs.map((pair) => pair.join(": ")))).toEqual(
        new Set([...Object.entries(request(i)), ...authority, ...scheme].map((pair) => pair.join(": "))),
      );
    }
    // nghttp2 says so even when nothing changes.
    expect(updates).toBe(1);
  });
});

describe("our blocks", () => {
  it.each([
    [false, undefined],
    [true, undefined],
    [false, 0],
    [true, 100],
    [false, 65_536],
  ])("are read by nghttp2 (Huffman %s, its table %s)", async (huffman, tableSize) => {
    const seen: Pairs[] = [];
    const server = http2.createServer(tableSize === undefined ? {} : { settings: { headerTableSize: tableSize } });
    server.on("stream", (stream: http2.ServerHttp2Stream, _headers: unknown, _flags: number, raw: string[]) => {
      seen.push(Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i] ?? "", raw[2 * i + 1] ?? ""]));
      stream.respond({ ":status": 204 }, { endStream: true });
    });
    const socket = net.connect(await listen(server), "127.0.0.1");
    const encoder = new HpackEncoder({ huffman });
    const sent: Pairs[] = [];
    let streamId = 1;
    const send = (): void => {
      const i = sent.length;
      const fields: Pairs = [
        ["accept", "*/*"],
        [`x-${i % 40}`, "v".repeat((i * 37) % 400)],
        ["x-unique", `${i}~|`.repeat(i % 9)],
        ["x-secret", `secret ${i}`],
      ];
      encoder.begin();
      encoder.pseudo(i % 3 === 0 ? "DELETE" : "GET", "http", "example.com", `/item/${i}`);
      for (const [name, value] of fields) {
        encoder.field(name, value, name === "x-unique" ? "name" : name === "x-secret" ? "never" : "index");
      }
      socket.write(frame(Type.HEADERS, 5, streamId, Buffer.from(encoder.finish())));
      sent.push([
        [":method", i % 3 === 0 ? "DELETE" : "GET"],
        [":scheme", "http"],
        [":authority", "example.com"],
        [":path", `/item/${i}`],
        ...fields,
      ]);
      streamId += 2;
    };
    await new Promise<void>((resolve, reject) => {
      socket.on("close", () => reject(new Error("nghttp2 hung up")));
      onFrames(socket, 0, ({ type, flags, streamId: of, payload }) => {
        if (type === Type.GOAWAY) reject(new Error(`GOAWAY ${payload.readUInt32BE(4)}`));
        if (type === Type.SETTINGS && (flags & 1) === 0) {
          for (let at = 0; at + 6 <= payload.length; at += 6) {
            if (payload.readUInt16BE(at) === 1) encoder.setMaxTableSize(payload.readUInt32BE(at + 2));
          }
          socket.write(SETTINGS_ACK);
          send();
        } else if (type === Type.HEADERS && of !== 0) {
          if (sent.length === 120) resolve();
          else send();
        }
      });
      socket.write(PREFACE);
    });
    expect(seen).toEqual(sent);
  });
});
