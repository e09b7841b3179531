/** 100 ordinary cancellations a second, for a minute, on one connection: visitors who leave must not cost the others anything. */
import http from "node:http";
import { afterEach, expect, it } from "vitest";
import { type Rig, startRig } from "../end-to-end/start.ts";

let rig: Rig | undefined;

afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

function cancelledGet(url: string): Promise<void> {
  return new Promise((resolve) => {
    const request = http.get(`${url}/slow`);
    request.on("error", () => {});
    request.on("close", resolve);
    setTimeout(() => request.destroy(), 5 + Math.random() * 20);
  });
}

it.each(["http2", "quic"] as const)("breaks nothing over %s", async (protocol) => {
  const lost: (Error | undefined)[] = [];
  rig = await startRig({
    haConnections: 1,
    protocol,
    origin: {
      listener: (request, response) => {
        if (request.url === "/slow") {
          const timer = setTimeout(() => response.end("late"), 5_000);
          response.on("close", () => clearTimeout(timer));
          return;
        }
        response.end("quick");
      },
    },
  });
  rig.tunnel.on("disconnected", (_connection, error) => lost.push(error));
  const { publicUrl } = rig.edge;
  const started = Date.now();
  const pending: Promise<void>[] = [];
  let served = 0;
  for (let tick = 0; tick < 600; tick++) {
    for (let i = 0; i < 10; i++) pending.push(cancelledGet(publicUrl));
    const response = await fetch(`${publicUrl}/quick`);
    expect(await response.text()).toBe("quick");
    served++;
    const due = started + (tick + 1) * 100;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - Date.now())));
  }
  await Promise.all(pending);
  console.log(
    `${pending.length} cancelled in ${((Date.now() - started) / 1000).toFixed(1)} s, ${served} served between them, over ${protocol}`,
  );
  expect(lost).toEqual([]);
  expect(rig.tunnel.connections.map((connection) => connection.state)).toEqual(["registered"]);
});
