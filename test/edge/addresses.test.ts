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
    expect(pool.size).toBe(4);
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
    expect(pool.size).toBe(4);
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

  it("never switch from IPv4", () => {
    const pool = createAddressPool([[...v4(0, 2), ...v6(0, 2)]], "auto", seeded(8));
    for (let i = 0; i < 5; i++) {
      expect(pool.assign(0, 0).family).toBe(4);
      pool.rotate(0, { connectivityError: true }, 0);
    }
  });
});
