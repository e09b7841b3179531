import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createAddressPool } from "../../src/edge/addresses.ts";
import { NoEdgeAddressError } from "../../src/edge/errors.ts";
import type { EdgeAddress } from "../../src/types.ts";

const MINUTE = 60_000;

function v4(region: number, count: number): EdgeAddress[] {
  return Array.from({ length: count }, (_, i) => ({ ip: `192.0.2.${region * 100 + i}`, port: 7844, family: 4 }));
}

function v6(region: number, count: number): EdgeAddress[] {
  return Array.from({ length: count }, (_, i) => ({ ip: `2001:db8:${region}::${i}`, port: 7844, family: 6 }));
}

/** Numerical Recipes' generator: the same seed gives the same run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const regionOf = (address: EdgeAddress): number =>
  address.family === 4 ? (Number(address.ip.split(".")[3]) < 100 ? 0 : 1) : Number(address.ip.split(":")[2]);

describe("assignment", () => {
  it.each([1, 2, 3, 4, 5])("spreads four connections over both regions, no address twice (seed %i)", (seed) => {
    const pool = createAddressPool([v4(0, 10), v4(1, 10)], "auto", seeded(seed));
    const addresses = [0, 1, 2, 3].map((connIndex) => pool.assign(connIndex, 0));
    expect(new Set(addresses.map((address) => address.ip)).size).toBe(4);
    expect(addresses.filter((address) => regionOf(address) === 0)).toHaveLength(2);
  });

  it("keeps a connection's address across reconnects", () => {
    const pool = createAddressPool([v4(0, 5), v4(1, 5)], "auto", seeded(1));
    const first = pool.assign(2, 0);
    for (let i = 0; i < 10; i++) expect(pool.assign(2, i * MINUTE)).toBe(first);
  });

  it("counts the same address given twice as two", () => {
    const same = v4(0, 1)[0] as EdgeAddress;
    const pool = createAddressPool(
      [
        [same, same],
        [same, same],
      ],
      "auto",
      seeded(1),
    );
    expect(pool.size()).toBe(4);
    for (const connIndex of [0, 1, 2, 3]) expect(pool.assign(connIndex, 0)).toBe(same);
    expect(() => pool.assign(4, 0)).toThrow(NoEdgeAddressError);
    pool.release(1);
    expect(pool.assign(4, 0)).toBe(same);
  });

  it.each([
    ["4", 4],
    ["6", 6],
  ] as const)("uses one family alone for edge-ip-version %s", (version, family) => {
    const pool = createAddressPool(
      [
        [...v4(0, 2), ...v6(0, 2)],
        [...v6(1, 2), ...v4(1, 2)],
      ],
      version,
      seeded(3),
    );
    expect(pool.size()).toBe(4);
    for (const connIndex of [0, 1, 2, 3]) expect(pool.assign(connIndex, 0).family).toBe(family);
    expect(() => createAddressPool([family === 4 ? v6(0, 2) : v4(0, 2)], version, seeded(3))).toThrow(
      /edge-ip-version/,
    );
  });
});

describe("rotation", () => {
  it.each([1, 2, 3, 4, 5])("gives another address after a failure, as long as there is one (seed %i)", (seed) => {
    const pool = createAddressPool([v4(0, 2), v4(1, 2)], "auto", seeded(seed));
    for (let i = 0; i < 20; i++) {
      const before = pool.assign(0, 0);
      pool.rotate(0, { connectivityError: true }, 0);
      expect(pool.assign(0, 0).ip).not.toBe(before.ip);
    }
  });

  it.each([1, 2, 3, 4, 5])("goes to the other region where this one has a connection already (seed %i)", (seed) => {
    // Region 1 has far fewer to spare, so that it would not be chosen for that.
    const pool = createAddressPool([v4(0, 9), v4(1, 2)], "auto", seeded(seed));
    const first = pool.assign(0, 0);
    expect(regionOf(first)).toBe(0);
    pool.rotate(0, { connectivityError: false, otherRegion: true }, 0);
    expect(regionOf(pool.assign(0, 0))).toBe(1);
  });

  it("stays in the only region where there is no other, at another address", () => {
    const pool = createAddressPool([v4(0, 2)], "auto", seeded(4));
    const first = pool.assign(0, 0);
    pool.rotate(0, { connectivityError: false, otherRegion: true }, 0);
    expect(pool.assign(0, 0).ip).not.toBe(first.ip);
  });

  it("leaves the address that was handed back to others", () => {
    const pool = createAddressPool([v4(0, 2)], "auto", seeded(4));
    const first = pool.assign(0, 0);
    pool.rotate(0, { connectivityError: true }, 0);
    pool.assign(0, 0);
    expect(pool.assign(1, 0)).toBe(first);
    expect(() => pool.assign(2, 0)).toThrow(NoEdgeAddressError);
  });

  it("takes no address of a connection that has none", () => {
    const pool = createAddressPool([v4(0, 1)], "auto", seeded(4));
    pool.rotate(3, { connectivityError: true }, 0);
    pool.release(3);
    expect(pool.assign(0, 0).family).toBe(4);
  });

  it("gives the same one again where there is no other, so that the caller can back off", () => {
    const pool = createAddressPool([v4(0, 1)], "auto", seeded(4));
    const first = pool.assign(0, 0);
    pool.rotate(0, { connectivityError: true }, 0);
    expect(pool.assign(0, 0)).toBe(first);
  });
});

describe("a region that can't be reached", () => {
  it.each([1, 2, 3, 4, 5])("is left after one failure, though it has the most to spare (seed %i)", (seed) => {
    const pool = createAddressPool([v4(0, 9), v4(1, 4)], "auto", seeded(seed));
    for (const connIndex of [0, 1, 2, 3]) {
      if (regionOf(pool.assign(connIndex, 0)) === 0) pool.rotate(connIndex, { connectivityError: true }, 0);
      expect(regionOf(pool.assign(connIndex, 0))).toBe(1);
    }
  });
});

describe("families under auto", () => {
  const regions = (): EdgeAddress[][] => [[...v6(0, 4), ...v4(0, 4)]];

  it("switch from IPv6 to IPv4 for ten minutes after an IPv6 address could not be reached", () => {
    const pool = createAddressPool(regions(), "auto", seeded(5));
    expect(pool.assign(0, 0).family).toBe(6);
    pool.rotate(0, { connectivityError: true }, 0);
    expect(pool.assign(0, 0).family).toBe(4);
    expect(pool.assign(1, 9 * MINUTE).family).toBe(4);
    expect(pool.assign(2, 10 * MINUTE).family).toBe(6);
  });

  it("return to IPv6 at once when IPv4 can't be reached either", () => {
    const pool = createAddressPool(regions(), "auto", seeded(6));
    pool.assign(0, 0);
    pool.rotate(0, { connectivityError: true }, 0);
    expect(pool.assign(0, 0).family).toBe(4);
    pool.rotate(0, { connectivityError: true }, 0);
    expect(pool.assign(0, 0).family).toBe(6);
  });

  it("stay switched for ten minutes when further IPv6 addresses fail", () => {
    const pool = createAddressPool(regions(), "auto", seeded(6));
    pool.assign(0, 0);
    pool.assign(1, 0);
    pool.rotate(0, { connectivityError: true }, 0);
    pool.rotate(1, { connectivityError: true }, 5 * MINUTE);
    expect(pool.assign(1, 5 * MINUTE).family).toBe(4);
    expect(pool.assign(2, 10 * MINUTE - 1).family).toBe(4);
    expect(pool.assign(3, 10 * MINUTE).family).toBe(6);
  });

  it("switch region by region", () => {
    const pool = createAddressPool(
      [
        [...v6(0, 4), ...v4(0, 4)],
        [...v6(1, 4), ...v4(1, 4)],
      ],
      "auto",
      seeded(9),
    );
    const failed = regionOf(pool.assign(0, 0));
    pool.rotate(0, { connectivityError: true }, 0);
    for (let connIndex = 0; connIndex < 6; connIndex++) {
      const address = pool.assign(connIndex, 0);
      expect(address.family).toBe(regionOf(address) === failed ? 4 : 6);
    }
  });

  it("give an address of the other one when nothing else is free, before the one that failed", () => {
    // One IPv4 address for all: whoever comes second after the switch would have none.
    const pool = createAddressPool([[...v6(0, 3), ...v4(0, 1)]], "auto", seeded(10));
    const first = pool.assign(0, 0);
    const second = pool.assign(1, 0);
    pool.rotate(0, { connectivityError: true }, 0);
    pool.rotate(1, { connectivityError: true }, 0);
    expect(pool.assign(0, 0).family).toBe(4);
    const instead = pool.assign(1, 0);
    expect(instead.family).toBe(6);
    expect(instead.ip).not.toBe(second.ip);
    const single = createAddressPool([[...v4(0, 1), ...v6(0, 1)]], "auto", seeded(10));
    expect(single.assign(0, 0).family).toBe(4);
    single.rotate(0, { connectivityError: true }, 0);
    expect(single.assign(0, 0).family).toBe(6);
    expect(first.family).toBe(6);
  });

  it("stay when the address was reached", () => {
    const pool = createAddressPool(regions(), "auto", seeded(7));
    pool.assign(0, 0);
    pool.rotate(0, { connectivityError: false }, 0);
    expect(pool.assign(0, 0).family).toBe(6);
  });

  it("switch from IPv4 after two failures, and back as soon as IPv6 fails", () => {
    const pool = createAddressPool([[...v4(0, 4), ...v6(0, 4)]], "auto", seeded(8));
    const families: number[] = [];
    for (let i = 0; i < 6; i++) {
      families.push(pool.assign(0, 0).family);
      pool.rotate(0, { connectivityError: true }, 0);
    }
    expect(families).toEqual([4, 4, 6, 4, 4, 6]);
  });

  it("start afresh in another network", () => {
    const pool = createAddressPool(regions(), "auto", seeded(5));
    pool.assign(0, 0);
    pool.rotate(0, { connectivityError: true }, 0);
    pool.forgetFailures();
    expect(pool.assign(0, 0).family).toBe(6);
  });
});

describe("families without a route", () => {
  const only4 = { 4: true, 6: false };
  const only6 = { 4: false, 6: true };

  it("are left out, and left by who has an address of theirs", () => {
    const pool = createAddressPool(
      [
        [...v6(0, 4), ...v4(0, 4)],
        [...v4(1, 4), ...v6(1, 4)],
      ],
      "auto",
      seeded(5),
    );
    const indexes = [0, 1, 2, 3];
    const assign = (routes: { 4: boolean; 6: boolean }): EdgeAddress[] =>
      indexes.map((connIndex) => pool.assign(connIndex, 0, routes));
    for (const [routes, family] of [
      [only4, 4],
      [only6, 6],
      [only4, 4],
    ] as const) {
      const found = assign(routes);
      expect(found.map((address) => address.family)).toEqual(indexes.map(() => family));
      expect(new Set(found.map(({ ip }) => ip)).size).toBe(4);
      expect(new Set(found.map(regionOf)).size).toBe(2);
      // And stays.
      expect(assign(routes)).toEqual(found);
    }
  });

  it("count for nothing: they have no room for a connection", () => {
    const pool = createAddressPool([[...v4(0, 1), ...v6(0, 1)]], "auto", seeded(5));
    expect([pool.size(), pool.size(only4), pool.size(only6), pool.size({ 4: false, 6: false })]).toEqual([2, 1, 1, 2]);
    pool.assign(0, 0, only6);
    expect(() => pool.assign(1, 0, only6)).toThrow(NoEdgeAddressError);
  });

  it("are used where there is no other, or none has one", () => {
    const neither = { 4: false, 6: false };
    expect(createAddressPool([v6(0, 1)], "auto", seeded(5)).assign(0, 0, only4).family).toBe(6);
    const pool = createAddressPool([[...v6(0, 2), ...v4(0, 2)]], "auto", seeded(5));
    const first = pool.assign(0, 0, neither);
    expect(first.family).toBe(6);
    expect(pool.assign(0, 0, neither)).toBe(first);
  });
});

describe("other addresses", () => {
  const zero = seeded(2);

  it("leave connections where they are as long as their address is there, and give new ones to the others", () => {
    const pool = createAddressPool([v4(0, 2), v4(1, 2)], "auto", zero);
    const before = [0, 1, 2, 3].map((connIndex) => pool.assign(connIndex, 0));
    const [kept, ...gone] = before;
    if (kept === undefined) throw new Error("no address");
    pool.update([[kept, ...v4(0, 10).slice(5)]]);
    expect(pool.size()).toBe(6);
    expect(pool.assign(0, 0)).toEqual(kept);
    const after = [1, 2, 3].map((connIndex) => pool.assign(connIndex, 0));
    for (const address of after) expect([kept, ...gone].map(({ ip }) => ip)).not.toContain(address.ip);
    expect(new Set(after.map(({ ip }) => ip)).size).toBe(3);
  });

  it("do not bring back the one that has just failed", () => {
    const pool = createAddressPool([v4(0, 2)], "auto", zero);
    const failed = pool.assign(0, 0);
    pool.rotate(0, { connectivityError: true }, 0);
    pool.update([[...v4(0, 2)]]);
    expect(pool.assign(0, 0).ip).not.toBe(failed.ip);
  });

  it("that are none change nothing", () => {
    const pool = createAddressPool([v4(0, 2)], "4", zero);
    const address = pool.assign(0, 0);
    expect(() => pool.update([v6(0, 2)])).toThrow(NoEdgeAddressError);
    expect(pool.assign(0, 0)).toBe(address);
    expect(pool.families).toEqual(new Set([4]));
  });
});

describe("whatever happens", () => {
  const operation = fc.record({
    kind: fc.constantFrom("assign", "fail", "move", "release", "update", "network"),
    connIndex: fc.nat(5),
    routes: fc.record({ 4: fc.boolean(), 6: fc.boolean() }),
    wait: fc.nat(11 * MINUTE),
    offset: fc.nat(6),
  });

  it("no place has two connections, and nobody with a place left goes without", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), fc.nat(), (operations, seed) => {
        const regionsFrom = (offset: number): EdgeAddress[][] => [
          [...v6(0, 8).slice(offset, offset + 2), ...v4(0, 8).slice(offset, offset + 2)],
          v4(1, 8).slice(offset, offset + 2),
        ];
        let current = regionsFrom(0);
        const pool = createAddressPool(current, "auto", seeded(seed));
        const held = new Map<number, EdgeAddress>();
        let now = 0;
        for (const { connIndex, kind, offset, routes, wait } of operations) {
          now += wait;
          if (kind === "fail") pool.rotate(connIndex, { connectivityError: true }, now);
          else if (kind === "move") pool.rotate(connIndex, { connectivityError: false, otherRegion: true }, now);
          else if (kind === "release") pool.release(connIndex);
          else if (kind === "network") pool.forgetFailures();
          else if (kind === "update") {
            current = regionsFrom(offset);
            pool.update(current);
            for (const [index, { ip }] of held) {
              if (!current.flat().some((address) => address.ip === ip)) held.delete(index);
            }
          }
          if (kind === "assign") {
            const mine = held.get(connIndex);
            held.delete(connIndex);
            const isFree = ({ family, ip }: EdgeAddress): boolean =>
              (routes[family] || !current.flat().some((other) => routes[other.family])) &&
              ![...held.values()].some((other) => other.ip === ip);
            if (!current.flat().some(isFree)) {
              expect(() => pool.assign(connIndex, now, routes)).toThrow(NoEdgeAddressError);
              continue;
            }
            const address = pool.assign(connIndex, now, routes);
            if (mine !== undefined && isFree(mine)) expect(address.ip).toBe(mine.ip);
            expect(current.flat().map(({ ip }) => ip)).toContain(address.ip);
            expect([...held.values()].map(({ ip }) => ip)).not.toContain(address.ip);
            held.set(connIndex, address);
          } else if (kind !== "update" && kind !== "network") held.delete(connIndex);
        }
      }),
      { numRuns: 300 },
    );
  });
});
