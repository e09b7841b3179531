/** 300 stalled uploads: what the streams hold stays under the cap, and new requests still work. */
import http from "node:http";
import { afterEach, expect, it } from "vitest";
import { startCommand, type Command } from "../end-to-end/start.ts";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { readFileSync } from "node:fs";

let command: Command | undefined;

afterEach(() => {
  command?.child.kill("SIGKILL");
});

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) / 1024;
}

it.skipIf(process.platform !== "linux").each(["http2", "quic"])("stay under the cap over %s", async (protocol) => {
  const edge = await startMockEdge();
  const origin = http.createServer((request, response) => {
    if (request.url !== "/stall") response.end("quick");
    else request.pause();
  });
  await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
  const address = origin.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  command = startCommand(["run", "--url", `http://127.0.0.1:${address.port}`], {
    env: {
      ...process.env,
      TUNNEL_TOKEN: edge.issueToken(),
      TUNNEL_EDGE: Array.from({ length: 4 }, () => edge.edgeAddress).join(","),
      TUNNEL_TRANSPORT_PROTOCOL: protocol,
      TUNNEL_CACERT: await edge.caFile(),
    },
  });
  await command.saw("Registered tunnel connection");
  const pid = command.child.pid ?? 0;
  const before = residentMiB(pid);
  const uploads = Array.from({ length: 300 }, () => {
    const upload = http.request(`${edge.publicUrl}/stall`, {
      method: "POST",
      headers: { "content-length": 50_000_000 },
    });
    upload.on("error", () => {});
    const chunk = Buffer.alloc(64 * 1024, 1);
    const pump = (): void => {
      while (upload.write(chunk)) {
        // Until nothing more is taken.
      }
      upload.once("drain", pump);
    };
    pump();
    return upload;
  });
  let peak = before;
  for (let i = 0; i < 60; i++) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    peak = Math.max(peak, residentMiB(pid));
    const response = await fetch(`${edge.publicUrl}/quick`);
    expect(await response.text()).toBe("quick");
  }
  console.log(
    `resident before ${before.toFixed(0)} MiB, at most ${peak.toFixed(0)} MiB with 300 stalled uploads over ${protocol}`,
  );
  expect(peak - before).toBeLessThan(400);
  for (const upload of uploads) upload.destroy();
  origin.closeAllConnections();
  origin.close();
  await edge.close();
});
