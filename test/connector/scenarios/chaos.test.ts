/**
 * Whatever an edge and the network do, in any order, in virtual time over real bytes: no request fails that was not on a
 * connection which was cut, and in the end all connections serve again.
 */
import { afterAll, describe, expect, it } from "vitest";
import type { Connection, MockEdge } from "../../../src/mock-edge/index.ts";
import { seededRandom } from "../fake-edge.ts";
import { advance, ask, inVirtualTime, readAll, until } from "./virtual-edge.ts";

const SIZE = 4;
const STEPS = 50;
/** Runs of one seed each; a failure names it. */
const SEEDS = [1, 2];

const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);
process.on("unhandledRejection", note);
afterAll(() => process.off("unhandledRejection", note));

interface Visit {
  readonly connection: Connection;
  readonly read: ReturnType<typeof readAll>;
}

/** Connections on which requests may fail: they were cut, or the edge behind them stood still. */
class Damage {
  readonly #cut = new Set<Connection>();

  cut(connection: Connection | undefined): void {
    if (connection !== undefined) this.#cut.add(connection);
  }

  excuses({ connection }: Visit): boolean {
    return this.#cut.has(connection);
  }
}

function blockUdp(edge: MockEdge, damage: Damage, forMs: number): void {
  edge.blockUdp(true);
  for (const connection of edge.connections) if (connection.protocol === "quic") damage.cut(connection);
  setTimeout(() => edge.blockUdp(false), forMs);
}

function hurt(edge: MockEdge, damage: Damage, random: () => number): void {
  const connection = edge.connections[Math.floor(random() * edge.connections.length)];
  switch (Math.floor(random() * 9)) {
    case 0:
      damage.cut(connection);
      connection?.drop();
      break;
    case 1:
      damage.cut(connection);
      connection?.freeze();
      setTimeout(() => connection?.thaw(), random() * 20_000);
      break;
    case 2:
      blockUdp(edge, damage, random() * 15_000);
      break;
    case 3:
      // QUIC has none: the mock edge closes its connection.
      if (connection?.protocol === "quic") damage.cut(connection);
      connection?.goaway();
      break;
    case 4:
    case 5:
      // Over QUIC it can't be told any more that others have taken over, and gets visits from here until it ends.
      if (connection?.protocol === "quic") damage.cut(connection);
      if (random() < 0.5) connection?.endControlStream();
      else connection?.resetControlStream();
      break;
    case 6:
      edge.fail({ kind: "never-answer" });
      break;
    case 7:
      edge.fail({ kind: "duplicate" });
      break;
    default:
      edge.useCertificate("expired");
      setTimeout(() => edge.useCertificate("valid"), random() * 10_000);
  }
}

function heal(edge: MockEdge): void {
  edge.clearFaults();
  edge.blockUdp(false);
  edge.useCertificate("valid");
  for (const connection of edge.connections) connection.thaw();
}

describe.each(["auto", "http2", "quic"] as const)("protocol %s", (protocol) => {
  it.each(SEEDS)("seed %i", (seed) =>
    inVirtualTime("quic", async ({ edge, open }) => {
      const random = seededRandom(seed);
      const damage = new Damage();
      const visits: Visit[] = [];
      const tunnel = await open({
        protocol,
        haConnections: SIZE,
        edge: Array.from({ length: 2 * SIZE }, () => edge.edgeAddress),
        origin: async (request: Request) => {
          await new Promise((resolve) => setTimeout(resolve, Number(new URL(request.url).searchParams.get("ms"))));
          return new Response("finished");
        },
      });
      const visit = (): void => {
        for (const connection of edge.connections) {
          const path = `/?ms=${Math.floor(random() * 5_000)}`;
          const stream = connection.routable
            ? connection.openStream({ authority: "app.example.com", path, end: true })
            : undefined;
          if (stream !== undefined) visits.push({ connection, read: readAll(stream) });
        }
      };
      for (let step = 0; step < STEPS; step++) {
        if (random() < 0.2) tunnel.reconnect(Math.floor(random() * SIZE), { pause: random() < 0.5 ? 0 : 2_000 });
        else hurt(edge, damage, random);
        visit();
        await advance(Math.floor(random() * 2_000));
        visit();
        await advance(Math.floor(random() * 1_000));
      }
      heal(edge);
      await until(() => tunnel.connections.every(({ state }) => state === "registered"), 600_000);
      await advance(60_000);
      expect(await ask(edge)).toMatchObject({ status: 200, text: "finished" });
      expect(tunnel.connections.map(({ state }) => state)).toEqual(Array(SIZE).fill("registered"));
      expect(edge.connections.map(({ state }) => state)).toEqual(Array(SIZE).fill("registered"));
      await until(() => tunnel.connections.every(({ activeStreams }) => activeStreams === 0));
      expect(visits.length).toBeGreaterThan(20);
      const failed = visits.filter(({ read }) => read.text !== "finished" || !read.ended);
      expect(failed.filter((one) => !damage.excuses(one))).toEqual([]);
      expect(visits.length - failed.length).toBeGreaterThan(5);
      expect(unhandled).toEqual([]);
    }),
  );
});
