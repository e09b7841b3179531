import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EdgeRecords } from "../../src/connector/edge-records.ts";
import { recordingLogger, seededRandom } from "./fake-edge.ts";
import { FakeResolvers } from "./fake-resolvers.ts";

const FEATURES = "cfd-features.argotunnel.com";
const PROTOCOLS = "protocol-v2.argotunnel.com";
const HOUR = 3_600_000;
const quic = (percentage: number): string => JSON.stringify([{ protocol: "quic", percentage }]);

let records: EdgeRecords;
let resolvers: FakeResolvers;
let log: ReturnType<typeof recordingLogger>;

beforeEach(() => {
  vi.useFakeTimers();
  resolvers = new FakeResolvers();
  log = recordingLogger();
  records = new EdgeRecords({ random: seededRandom(1), logger: log.logger, resolvers });
});

afterEach(() => {
  records.close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("the records of the edge", () => {
  it("say nothing until they are there", () => {
    expect(records.usesDatagramV3("")).toBe(false);
    expect(records.skipPrechecks).toBe(false);
    expect(records.quicWithdrawn).toBe(false);
  });

  it("are looked up, and again about every hour", async () => {
    resolvers.txts = { [FEATURES]: '{"dv3_2":75,"skip_prechecks":true}', [PROTOCOLS]: quic(100) };
    await records.refresh();
    // 74 and 61 of a hundred.
    expect(records.usesDatagramV3("123456")).toBe(true);
    expect(records.skipPrechecks).toBe(true);
    expect(records.quicWithdrawn).toBe(false);
    resolvers.txts = { [FEATURES]: '{"dv3_2":74}', [PROTOCOLS]: quic(0) };
    await vi.advanceTimersByTimeAsync(0.85 * HOUR);
    expect(resolvers.asked).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(0.3 * HOUR);
    expect(records.usesDatagramV3("123456")).toBe(false);
    expect(records.usesDatagramV3("")).toBe(true);
    expect(records.skipPrechecks).toBe(false);
    expect(records.quicWithdrawn).toBe(true);
    expect(log.lines.filter(({ level }) => level !== "debug")).toMatchObject([
      { level: "info", message: expect.stringContaining("withdrawn QUIC") },
    ]);
  });

  it("withdraw QUIC by a share of 0 alone", async () => {
    for (const [text, withdrawn] of [
      [quic(0), true],
      [quic(1), false],
      ["[]", false],
      [quic(0), true],
    ] as const) {
      resolvers.txts = { [FEATURES]: "{}", [PROTOCOLS]: text };
      await records.refresh();
      expect(records.quicWithdrawn).toBe(withdrawn);
    }
  });

  it.each([
    ["can't be looked up", {}],
    ["can't be read", { [FEATURES]: "nonsense", [PROTOCOLS]: "{}" }],
  ])(
    "that %s keep their last values, and are asked for again sooner, without a word above debug",
    async (_name, broken) => {
      resolvers.txts = { [FEATURES]: '{"dv3_2":100}', [PROTOCOLS]: quic(0) };
      await records.refresh();
      log.lines.length = 0;
      resolvers.txts = broken;
      await records.refresh();
      expect(records.usesDatagramV3("123456")).toBe(true);
      expect(records.quicWithdrawn).toBe(true);
      const asked = resolvers.asked.length;
      await vi.advanceTimersByTimeAsync(70_000);
      expect(resolvers.asked.length).toBeGreaterThan(asked);
      expect(new Set(log.lines.map(({ level }) => level))).toEqual(new Set(["debug"]));
    },
  );

  it("come over TLS where the system's resolver fails", async () => {
    resolvers.txts = { [FEATURES]: '{"skip_prechecks":true}', [PROTOCOLS]: quic(100) };
    resolvers.system = new Error("ESERVFAIL");
    resolvers.tls = undefined;
    await records.refresh();
    expect(records.skipPrechecks).toBe(true);
  });

  it("are waited for no longer than ten seconds, and not at all after the end", async () => {
    resolvers.system = "silent";
    resolvers.tls = undefined;
    Object.assign(resolvers, { overTls: () => new Promise(() => {}) });
    let done = false;
    void records.refresh().then(() => {
      done = true;
    });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(done).toBe(true);
    const asked = resolvers.asked.length;
    const last = records.refresh();
    records.close();
    await last;
    await vi.advanceTimersByTimeAsync(3 * HOUR);
    expect(resolvers.asked).toHaveLength(asked + 2);
  });
});
