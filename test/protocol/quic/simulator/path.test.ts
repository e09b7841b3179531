/** How well a path is used: bandwidth, losses, reordering, its MTU. Times are virtual. */
import { describe, expect, it } from "vitest";
import { PERFECT } from "./link.ts";
import { calm, download } from "./scenario.ts";
import { simulate } from "./world.ts";

const MEGABYTE = 1_000_000;

describe.each(["cubic", "new-reno"] as const)("%s", (congestion) => {
  it("fills a path of 10 Mbit/s and 50 ms whose queue holds what the path does", () => {
    const bandwidth = 1_250;
    const toClient = { ...PERFECT, delay: 25, bandwidth, queue: 50 * bandwidth };
    const stats = simulate(
      calm({ toClient, toServer: { ...PERFECT, delay: 25 }, server: { congestion }, streams: download(3 * MEGABYTE) }),
    );
    // In megabytes a second; 1.25 is the path's.
    expect((3 * 1000) / stats.transferTime).toBeGreaterThan(1);
  });

  it("carries what Reno would over 20 ms with 1 % loss", () => {
    const toClient = { ...PERFECT, loss: 0.01 };
    const stats = simulate(calm({ toClient, server: { congestion }, streams: download(3 * MEGABYTE) }));
    // 1.22 × MTU / (RTT × √loss) = 0.89 MB/s in the long run; 1.2 with a back-off of 0.7.
    expect((3 * 1000) / stats.transferTime).toBeGreaterThan(congestion === "cubic" ? 0.65 : 0.85);
  });

  it("learns that packets overtake each other, and is not slowed down for it", () => {
    const toClient = { ...PERFECT, reorder: 0.05, reorderBy: 3 };
    const stats = simulate(calm({ toClient, server: { congestion }, streams: download(3 * MEGABYTE) }));
    expect((3 * 1000) / stats.transferTime).toBeGreaterThan(4);
  });
});

describe("the path's MTU", () => {
  it("is found, each way", () => {
    const stats = simulate(
      calm({ toServer: { ...PERFECT, mtu: 1320 }, toClient: { ...PERFECT, mtu: 1400 }, streams: download(MEGABYTE) }),
    );
    expect(stats.mtu.client).toBeGreaterThan(1300);
    expect(stats.mtu.client).toBeLessThanOrEqual(1320);
    expect(stats.mtu.server).toBeGreaterThan(1380);
    expect(stats.mtu.server).toBeLessThanOrEqual(1400);
  });

  it("may shrink in the middle of a transfer", () => {
    const toClient = { ...PERFECT, bandwidth: 1_000, queue: 50_000, laterMtu: 1280, laterMtuAt: 1_500 };
    const stats = simulate(calm({ toClient, streams: download(3 * MEGABYTE) }));
    expect(stats.mtu.server).toBeLessThanOrEqual(1280);
    expect(stats.mtu.server).toBeGreaterThan(1250);
    // Three seconds for the path, and some probe timeouts until the hole is found.
    expect(stats.transferTime).toBeLessThan(6_000);
  });

  it("may be smaller than what was begun with", () => {
    const narrow = { ...PERFECT, mtu: 1200 };
    const large = { initialMtu: 1400 };
    const upload = download(100_000).map((plan) => ({ ...plan, opener: "client" as const }));
    const stats = simulate(
      calm({
        toServer: narrow,
        toClient: narrow,
        client: large,
        server: large,
        streams: [...download(100_000), ...upload],
      }),
    );
    expect(stats.mtu).toEqual({ client: 1200, server: 1200 });
  });
});

it("gets through an outage", () => {
  const out = { ...PERFECT, outageFrom: 1_100, outageTo: 6_000 };
  const stats = simulate(calm({ toServer: out, toClient: out, streams: download(MEGABYTE) }));
  expect(stats.transferTime).toBeLessThan(15_000);
});
