/** Streams that the origin does not read must not hold up the others (cloudflared hangs there). */
import http from "node:http";
import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { type Rig, startRig } from "./start.ts";

let rig: Rig | undefined;
const uploads: http.ClientRequest[] = [];

afterEach(async () => {
  for (const upload of uploads.splice(0)) upload.destroy();
  await rig?.stop();
  rig = undefined;
});

/** Reads nothing on /stall, hashes what comes on /hash, answers anything else at once. */
const listener: http.RequestListener = (request, response) => {
  if (request.url === "/stall") return;
  if (request.url === "/hash") {
    const hash = createHash("sha256");
    request.on("data", (chunk: Buffer) => hash.update(chunk));
    request.on("end", () => response.end(hash.digest("hex")));
    return;
  }
  response.end("quick");
};

function stall(url: string, bytes: number): Promise<void> {
  const upload = http.request(`${url}/stall`, { method: "POST", headers: { "content-length": bytes } });
  upload.on("error", () => {});
  uploads.push(upload);
  const chunk = Buffer.alloc(64 * 1024, 1);
  let left = bytes;
  return new Promise((resolve) => {
    // It is stalled once nothing more is taken for a while; how long that takes is no matter.
    let quiet = setTimeout(resolve, 400);
    const pump = (): void => {
      clearTimeout(quiet);
      quiet = setTimeout(resolve, 400);
      while (left > 0) {
        left -= chunk.length;
        if (!upload.write(chunk)) {
          upload.once("drain", pump);
          return;
        }
      }
    };
    pump();
  });
}

async function hashOf(url: string, body: Buffer): Promise<string> {
  const response = await fetch(`${url}/hash`, { method: "POST", body: new Uint8Array(body) });
  return await response.text();
}

describe.each([
  ["an origin in this process", true, "http2"],
  ["an origin behind a socket", false, "http2"],
  ["an origin in this process", true, "quic"],
  ["an origin behind a socket", false, "quic"],
] as const)("stalled uploads to %s", (_name, inProcess, protocol) => {
  it(`let a ninth upload of 10 MB and 100 GETs through on the same connection, over ${protocol}`, async () => {
    const server = http.createServer(listener);
    let origin: ConstructorParameters<typeof URL>[0] | { listener: http.RequestListener } = { listener };
    if (!inProcess) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const address = server.address();
      if (typeof address !== "object" || address === null) throw new Error("no address");
      origin = `http://127.0.0.1:${address.port}`;
    }
    try {
      rig = await startRig({ origin, protocol, haConnections: 1 });
      const { publicUrl } = rig.edge;
      await Promise.all(Array.from({ length: 8 }, () => stall(publicUrl, 20_000_000)));
      const body = Buffer.alloc(10_000_000, 7);
      expect(await hashOf(publicUrl, body)).toBe(createHash("sha256").update(body).digest("hex"));
      const gets = await Promise.all(
        Array.from({ length: 100 }, async () => (await fetch(`${publicUrl}/quick`)).text()),
      );
      expect(gets).toEqual(Array.from({ length: 100 }, () => "quick"));
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }, 60_000);
});
