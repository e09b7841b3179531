/** A peer that writes frames by hand, to say what no honest peer would. */
import { createHttp2Server } from "../../../src/protocol/http2/server.ts";
import { HpackEncoder } from "../../../src/protocol/http2/hpack/encoder.ts";
import type { Http2Options, Http2Stream, RequestHead } from "../../../src/protocol/http2/types.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export function frame(type: number, flags: number, streamId: number, payload: Buffer | string = ""): Buffer {
  const body = typeof payload === "string" ? Buffer.from(payload, "hex") : payload;
  const header = Buffer.alloc(9);
  header.writeUIntBE(body.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, body]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export const PREFACE = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(Type.SETTINGS, 0, 0)]);
export const SETTINGS_ACK = frame(Type.SETTINGS, 1, 0);

export function block(...fields: [string, string][]): Buffer {
  const encoder = new HpackEncoder();
  encoder.begin();
  for (const [name, value] of fields) encoder.field(name, value, "never");
  return Buffer.from(encoder.finish());
}

const GET = block([":method", "GET"], [":scheme", "https"], [":authority", "example.com"], [":path", "/"]);
export const POST = block([":method", "POST"], [":scheme", "https"], [":authority", "example.com"], [":path", "/"]);

/** END_STREAM | END_HEADERS. */
export function get(streamId: number): Buffer {
  return frame(Type.HEADERS, 5, streamId, GET);
}

export interface RawServer {
  readonly heads: RequestHead[];
  readonly streams: Http2Stream[];
  readonly cancelled: Http2Stream[];
  readonly errors: Error[];
  readonly connection: ReturnType<typeof createHttp2Server>;
  /** Sends bytes to the server at `now`; returns the frames that it answers. */
  send(...bytes: Buffer[]): Frame[];
  now: number;
  /** The GOAWAY's error code, where one was sent. */
  readonly goaway: number | undefined;
}

export function parseFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      streamId: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}

/** A server on which streams are never answered, and whose consumers release cancelled ones unless told not to. */
export function rawServer(
  options: Http2Options & { release?: boolean; handshake?: boolean; onOutput?: () => void } = {},
): RawServer {
  const raw = {
    heads: [] as RequestHead[],
    streams: [] as Http2Stream[],
    cancelled: [] as Http2Stream[],
    errors: [] as Error[],
    now: 0,
    goaway: undefined as number | undefined,
  };
  const connection = createHttp2Server(
    options,
    {
      onOutput: () => options.onOutput?.(),
      onRequest: (stream, head) => {
        raw.heads.push(head);
        raw.streams.push(stream);
        stream.handler = {
          onData() {},
          onEnd() {},
          onCancel: () => {
            raw.cancelled.push(stream);
            if (options.release !== false) stream.release();
          },
          onWritable() {},
        };
      },
      onError: (error) => raw.errors.push(error),
    },
    0,
  );
  const server: RawServer = Object.assign(raw, {
    connection,
    send: (...bytes: Buffer[]): Frame[] => {
      connection.receive(Buffer.concat(bytes), raw.now);
      const output: Buffer[] = [];
      for (let buffer = connection.takeOutput(); buffer !== undefined; buffer = connection.takeOutput()) {
        output.push(Buffer.from(buffer));
        connection.recycle(buffer);
      }
      const frames = parseFrames(Buffer.concat(output));
      raw.goaway ??= frames.find((one) => one.type === Type.GOAWAY)?.payload.readUInt32BE(4);
      return frames;
    },
  });
  if (options.handshake !== false) server.send(PREFACE, SETTINGS_ACK);
  return server;
}
