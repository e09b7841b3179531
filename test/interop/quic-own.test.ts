import { afterEach, describe, expect, it } from "vitest";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import { startRelay } from "./quic/lossy-relay.ts";
import { Interop } from "./quic/ours.ts";
import { digest, PATTERN } from "./quic/workload.ts";

const rig = new Interop();
afterEach(() => rig.end());

describe("our client and our server on sockets", () => {
  it("shake hands, move bytes both ways, and close with a code", async () => {
    const { port, accepted } = await rig.server();
    const client = await rig.client(port);
    expect(client.info).toMatchObject({ alpn: "interop", group: expect.any(String) });
    const [down, up] = await Promise.all([
      client.ask("source 3000000").answer,
      client.ask("sink", { payload: 3_000_000 }).answer,
    ]);
    expect(down).toMatchObject({ bytes: 3_000_000, wrong: -1, end: "end" });
    expect(up.text).toBe(digest(3_000_000));
    await client.echoDatagram(PATTERN.subarray(0, 1000));
    client.close(9, "goodbye");
    expect(await accepted[0]?.closed).toMatchObject({ end: "peer-application", errorCode: 9, reason: "goodbye" });
  });

  it("do so over a path that loses, repeats and reorders", async () => {
    const { port } = await rig.server({ alwaysRetry: true });
    const relay = await startRelay(port, { seed: 5, loss: 0.05, duplicate: 0.02, reorder: 0.05, delay: 2 });
    rig.onCleanup(() => relay.close());
    const client = await rig.client(relay.port);
    const [down, up] = await Promise.all([
      client.ask("source 500000").answer,
      client.ask("sink", { payload: 500_000 }).answer,
    ]);
    expect(down).toMatchObject({ bytes: 500_000, wrong: -1, end: "end" });
    expect(up.text).toBe(digest(500_000));
    expect(relay.dropped).toBeGreaterThan(0);
  });

  it("stalled uploads don't stop the others, and the longest stalled ends at the limit of memory", async () => {
    const budget = createMemoryBudget(16 * 1024 * 1024);
    const { port } = await rig.server({ budget });
    const client = await rig.client(port);
    const ends: unknown[] = [];
    const stall = (count: number): void => {
      for (let i = 0; i < count; i++) {
        const index = ends.length;
        ends.push("held");
        void client.ask("hold", { payload: 1024 * 1024 }).answer.then(({ end }) => (ends[index] = end));
      }
    };
    stall(100);
    for (let i = 0; i < 5; i++) {
      expect(await client.ask("echo", { payload: 2_000_000 }).answer).toMatchObject({ bytes: 2_000_000, wrong: -1 });
    }
    expect(budget.held).toBeGreaterThan(6 * 1024 * 1024);
    expect(ends.every((end) => end === "held")).toBe(true);
    stall(200);
    for (let i = 0; i < 5; i++) {
      expect(await client.ask("echo", { payload: 2_000_000 }).answer).toMatchObject({ bytes: 2_000_000, wrong: -1 });
      expect(budget.held).toBeLessThanOrEqual(budget.limit);
    }
    const ended = ends.filter((end) => end !== "held");
    expect(ended.length).toBeGreaterThan(40);
    expect(ended).toEqual(ended.map(() => ({ reset: 0 })));
    // Those that were held for longest.
    expect(ends.slice(0, 40)).toEqual(ends.slice(0, 40).map(() => ({ reset: 0 })));
  });
});
