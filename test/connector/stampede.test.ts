/** Many connectors whose edge restarts, in virtual time: they come back, and not as one. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Deadline } from "../../src/connector/drain.ts";
import { Supervisor } from "../../src/connector/supervisor.ts";
import { FakeEdge, fakeParts, recordingLogger, seededRandom } from "./fake-edge.ts";

const CONNECTORS = 50;
const CONNECTIONS = 4;

let edges: FakeEdge[];
let supervisors: Supervisor[];

const advance = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
const registeredOnes = (): number => supervisors.reduce((sum, one) => sum + one.registeredConnections, 0);

/** How many attempts fall into each tenth of a second. */
function crowds(since: number): number[] {
  const counts = new Map<number, number>();
  for (const { at } of edges.flatMap(({ dials }) => dials)) {
    if (at < since) continue;
    const bin = Math.floor((at - since) / 100);
    counts.set(bin, (counts.get(bin) ?? 0) + 1);
  }
  return [...counts.values()];
}

beforeEach(async () => {
  vi.useFakeTimers({ now: 0 });
  const { logger } = recordingLogger();
  edges = Array.from({ length: CONNECTORS }, () => new FakeEdge());
  supervisors = edges.map(
    (edge, seed) =>
      new Supervisor(
        fakeParts(edge, { random: seededRandom(seed + 1) }),
        {
          haConnections: CONNECTIONS,
          retries: 5,
          rpcTimeoutMs: 5_000,
          gracePeriodMs: 30_000,
          connectorId: crypto.randomUUID(),
          features: () => [],
          version: "1.2.3",
          arch: "linux_amd64",
          onRequest: () => {},
        },
        { registered() {}, disconnected() {}, failed() {}, retrying() {}, gaveUp() {} },
        logger,
      ),
  );
  for (const supervisor of supervisors) supervisor.start();
  await advance(30_000);
  expect(registeredOnes()).toBe(CONNECTORS * CONNECTIONS);
});

afterEach(async () => {
  const stopped = supervisors.map((supervisor) => supervisor.stop(new Deadline(0)));
  await advance(10_000);
  await Promise.all(stopped);
  vi.useRealTimers();
});

function dropAll(): void {
  for (const edge of edges) for (const connection of edge.open) connection.drop(new Error("ECONNRESET"));
}

describe("an edge that restarts", () => {
  it("and is there again at once gets its connections back over two seconds", async () => {
    const since = Date.now();
    dropAll();
    await advance(2_100);
    expect(registeredOnes()).toBe(CONNECTORS * CONNECTIONS);
    // Two hundred over two seconds are ten in each tenth of one.
    expect(Math.max(...crowds(since))).toBeLessThan(30);
  });

  it("and is away for a minute is not rushed at when it is back, and has all of them within another", async () => {
    for (const edge of edges) edge.onDial = () => new Error("ECONNREFUSED");
    dropAll();
    await advance(60_000);
    const since = Date.now();
    for (const edge of edges) edge.onDial = () => undefined;
    await advance(60_000);
    expect(registeredOnes()).toBe(CONNECTORS * CONNECTIONS);
    expect(Math.max(...crowds(since))).toBeLessThan(30);
  });

  it("and says so beforehand has each connection replaced before it ends, and not all at once", async () => {
    const since = Date.now();
    for (const edge of edges) for (const { client } of edge.open) client.end(undefined);
    let fewest = CONNECTORS * CONNECTIONS;
    for (let i = 0; i < 50; i++) {
      await advance(100);
      fewest = Math.min(fewest, registeredOnes());
    }
    expect(fewest).toBe(CONNECTORS * CONNECTIONS);
    expect(Math.max(...crowds(since))).toBeLessThan(30);
  });
});
