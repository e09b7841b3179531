/** Much data through the command as its own process, to or from somebody who is slower than the rest. */
import { readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { startCommand } from "./start.ts";

const MIB = 1024 ** 2;
const chunk = Buffer.alloc(64 * 1024, "b");

/** Rests so often that the sender has to wait: about 100 MiB a second at most. */
async function readSlowly(from: Readable): Promise<number> {
  let received = 0;
  let restAt = 2 * MIB;
  for await (const data of from) {
    received += (data as Buffer).length;
    if (received < restAt) continue;
    restAt = received + 2 * MIB;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return received;
}

function send(to: NodeJS.WritableStream, bytes: number): void {
  let left = bytes;
  const pump = (): void => {
    while (left > 0) {
      left -= chunk.length;
      if (!to.write(chunk)) {
        to.once("drain", pump);
        return;
      }
    }
    to.end();
  };
  pump();
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) / 1024;
}

function upload(url: string, bytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers: { "content-length": bytes } }, (response) => {
      let text = "";
      response.on("data", (data: Buffer) => (text += data.toString()));
      response.on("end", () => resolve(Number(text)));
    });
    request.on("error", reject);
    send(request, bytes);
  });
}

function download(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    http.get(url, (response) => readSlowly(response).then(resolve, reject)).on("error", reject);
  });
}

/** Sends `bytes` (a multiple of 64 KiB) through the command. Resolves with what arrived, and by how many MiB its process grew at most. Linux only. */
export async function transfer(
  direction: "down" | "up",
  bytes: number,
  protocol: "quic" | "http2",
): Promise<{ arrived: number; grownMiB: number }> {
  const edge = await startMockEdge();
  const origin = http.createServer((request, response) => {
    if (request.method === "POST") void readSlowly(request).then((received) => response.end(String(received)));
    else send(response, bytes);
  });
  await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
  const command = startCommand(["run", "--url", `http://127.0.0.1:${(origin.address() as AddressInfo).port}`], {
    env: {
      ...process.env,
      TUNNEL_TOKEN: edge.issueToken(),
      TUNNEL_EDGE: edge.edgeAddress,
      TUNNEL_TRANSPORT_PROTOCOL: protocol,
      TUNNEL_CACERT: await edge.caFile(),
    },
  });
  try {
    await command.saw("Registered tunnel connection");
    const pid = command.child.pid ?? 0;
    const before = residentMiB(pid);
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, residentMiB(pid));
    }, 50);
    const arrived = await (direction === "up" ? upload(edge.publicUrl, bytes) : download(edge.publicUrl)).finally(() =>
      clearInterval(watch),
    );
    return { arrived, grownMiB: peak - before };
  } finally {
    command.child.kill("SIGKILL");
    origin.closeAllConnections();
    origin.close();
    await edge.close();
  }
}
