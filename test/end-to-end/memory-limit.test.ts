/** `memoryLimit` is the cap: what stalls longest is reset, with an outcome of its own, and the rest goes on. */
import http from "node:http";
import { expect, it } from "vitest";
import { startRig } from "./start.ts";

it.each(["http2", "quic"] as const)("resets the upload that was stuck longest, over %s", async (protocol) => {
  const classes: string[] = [];
  const rig = await startRig({
    haConnections: 1,
    protocol,
    memoryLimit: 1024 * 1024,
    origin: {
      listener: (request, response) => {
        if (request.url !== "/stall") response.end("quick");
      },
    },
  });
  rig.tunnel.on("request", (outcome) => classes.push(outcome.class));
  const uploads = Array.from({ length: 40 }, () => {
    const upload = http.request(`${rig.edge.publicUrl}/stall`, { method: "POST" });
    upload.on("error", () => {});
    upload.on("response", (response) => response.resume());
    upload.write(Buffer.alloc(256 * 1024, 1));
    return upload;
  });
  try {
    await expect.poll(() => classes.includes("memory-limit"), { timeout: 10_000 }).toBe(true);
    const response = await fetch(`${rig.edge.publicUrl}/quick`);
    expect(await response.text()).toBe("quick");
  } finally {
    for (const upload of uploads) upload.destroy();
    await rig.stop();
  }
});
