/** When a metrics server listens, and what a failure of it means. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { MetricsConfig } from "../../src/config/tunnel-config.ts";
import { MetricsListener } from "../../src/connector/metrics-listener.ts";
import { type LogLine, recordingLogger } from "./fake-edge.ts";

let listener: MetricsListener;
let lines: LogLine[];
let failures: Error[];

function create(config: MetricsConfig | undefined): void {
  const recording = recordingLogger();
  lines = recording.lines;
  failures = [];
  listener = new MetricsListener({
    config,
    state: {
      connectorId: "99999999-8888-4777-8666-555555555555",
      health: () => ({ state: "ready", reasons: [], readyConnections: 1, wantedConnections: 1 }),
      quickHostname: () => "",
      configuration: () => "{}",
      metrics: () => "",
    },
    logger: recording.logger,
    onFailure: (error) => failures.push(error),
  });
}

afterEach(async () => {
  await listener.close();
});

const byDefault: MetricsConfig = { kind: "default", host: "127.0.0.1" };

describe("a metrics server", () => {
  it("that nobody asked for waits for the first registration", async () => {
    create(byDefault);
    listener.start();
    expect(listener.url).toBeUndefined();
    await listener.registered();
    await vi.waitFor(() => expect(listener.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/));
    expect((await fetch(`${listener.url}/ready`)).status).toBe(200);
    expect(lines[0]).toMatchObject({
      level: "info",
      message: expect.stringMatching(/^Starting metrics server on 127/),
    });
  });

  it("but not for long, so that it can tell that there is none", async () => {
    create(byDefault);
    listener.start();
    await vi.waitFor(() => expect(listener.url).toBeDefined(), { timeout: 5_000 });
    await listener.registered();
  });

  it("that nobody asked for is not missed where it can't listen", async () => {
    create({ kind: "default", host: "192.0.2.1" as never });
    listener.start();
    await listener.registered();
    await vi.waitFor(() => expect(lines).toHaveLength(1));
    expect(lines[0]).toMatchObject({
      level: "info",
      message: "There is no metrics server; the tunnel works without",
    });
    expect([failures, listener.url]).toEqual([[], undefined]);
  });

  it("at an address that somebody named must listen there", async () => {
    const blocker = createServer().listen(0, "127.0.0.1");
    await once(blocker, "listening");
    const { port } = blocker.address() as AddressInfo;
    create({ kind: "address", host: "127.0.0.1", port });
    listener.start();
    await listener.registered();
    expect(failures).toMatchObject([{ code: "ERR_UNDERPASS_METRICS_LISTEN" }]);
    blocker.close();
  });

  it("shows that others reach it", async () => {
    create({ kind: "address", host: "0.0.0.0", port: 0 });
    listener.start();
    await listener.registered();
    expect(lines[0]?.message).toMatch(/^Starting metrics server on 0\.0\.0\.0:\d+\/metrics$/);
  });

  it("never starts once the tunnel is closed", async () => {
    create(byDefault);
    listener.start();
    await listener.close();
    await listener.registered();
    expect([listener.url, lines]).toEqual([undefined, []]);
  });
});
