/** gRPC through a whole tunnel: streams both ways at once, trailers, and how calls end (github.com/grpc/grpc, PROTOCOL-HTTP2). */
import http2 from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import type { VisitorStream } from "../../src/mock-edge/index.ts";
import { type Certificate, selfSigned } from "../proxy/certificates.ts";
import { Cleanup, portOf } from "../proxy/harness.ts";
import { http2Origin } from "../proxy/http2/origin.ts";
import { type Rig, startRig } from "./start.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Length-prefixed, not compressed. */
function message(text: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(text), 1);
  return Buffer.concat([head, Buffer.from(text)]);
}

/** Echoes messages, and counts them in its trailers; `/test/Denied` answers with a head alone. */
function service(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
  if (headers[":path"] === "/test/Denied") {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": "7", "grpc-message": "no" },
      { endStream: true },
    );
    return;
  }
  let bytes = 0;
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    stream.write(chunk);
  });
  stream.on("end", () => stream.end());
  stream.on("wantTrailers", () =>
    stream.sendTrailers({
      "grpc-status": "0",
      "grpc-message": String(headers.te),
      // Names that only Cloudflare's components may set.
      "cf-int-brand-id": "1",
      "cf-cloudflared-response-meta": '{"src":"cloudflared"}',
      "cf-proxy-status": "1",
      "x-bytes": String(bytes),
    }),
  );
}

async function tunnelTo(scheme: "h2c" | "https", certificate?: Certificate): Promise<Rig> {
  const { server } = await http2Origin(cleanup, service, certificate);
  const origin = `${scheme}://127.0.0.1:${portOf(server)}`;
  const originRequest = certificate === undefined ? {} : { http2Origin: true, caPool: certificate.cert };
  const rig = await startRig({ origin, originRequest, protocol: "http2", haConnections: 1, healthCheck: false });
  return cleanup.add(rig, (each) => each.stop());
}

function call({ edge }: Rig, method: string): VisitorStream {
  return edge.openStream({
    authority: "grpc.example.com",
    method: "POST",
    path: `/test/${method}`,
    fields: [
      ["content-type", "application/grpc"],
      ["te", "trailers"],
    ],
  });
}

describe.each([
  ["h2c://", "h2c", undefined],
  ["https:// with http2Origin", "https", selfSigned("IP:127.0.0.1")],
] as const)("a gRPC service by %s", (_name, scheme, certificate) => {
  it("answers each message as it comes, and ends with its trailers", async () => {
    const stream = call(await tunnelTo(scheme, certificate), "Chat");
    expect((await stream.head).status).toBe(200);
    let received = Buffer.alloc(0);
    const heard = (length: number): Promise<void> =>
      new Promise((resolve) => {
        const look = (chunk: Buffer): void => {
          received = Buffer.concat([received, chunk]);
          if (received.length < length) return;
          stream.off("data", look);
          resolve();
        };
        stream.on("data", look);
      });
    let sent = Buffer.alloc(0);
    for (const text of ["one", "two", "x".repeat(300_000)]) {
      sent = Buffer.concat([sent, message(text)]);
      const answered = heard(sent.length);
      stream.write(message(text));
      await answered;
    }
    expect(received.equals(sent)).toBe(true);
    const ended = new Promise((resolve) => stream.once("end", resolve));
    stream.resume();
    stream.end();
    await ended;
    expect(stream.trailers).toEqual([
      ["grpc-status", "0"],
      ["grpc-message", "trailers"],
      ["x-bytes", String(sent.length)],
    ]);
  });

  it("may answer with a head alone, many calls at once", async () => {
    const rig = await tunnelTo(scheme, certificate);
    const heads = await Promise.all(
      Array.from({ length: 40 }, () => {
        const stream = call(rig, "Denied");
        stream.end(message("please"));
        stream.resume();
        return stream.head;
      }),
    );
    expect(new Set(heads.map(({ status }) => status))).toEqual(new Set([200]));
  });
});
