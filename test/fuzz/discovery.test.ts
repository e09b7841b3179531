/** What comes from DNS and from disk is hostile: it gives what it should, or a typed refusal, and never anything else. */
import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatLastGood, parseLastGood } from "../../src/connector/last-good-addresses.ts";
import { discoverEdge, orderSrv } from "../../src/edge/discovery.ts";
import { EdgeDiscoveryError } from "../../src/edge/errors.ts";
import { parseFeatureRecord, parseProtocolRecord } from "../../src/edge/txt-records.ts";
import type { EdgeAddress } from "../../src/types.ts";

const attempt = <T>(read: () => T): T | undefined => {
  try {
    return read();
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return undefined;
  }
};

const address = fc
  .record({ ip: fc.oneof(fc.ipV4(), fc.ipV6()), port: fc.integer({ min: 1, max: 65_535 }) })
  .map(({ ip, port }): EdgeAddress => ({ ip, port, family: ip.includes(":") ? 6 : 4 }));
const regions = fc.array(fc.array(address, { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 2 });

describe("the file of last good addresses", () => {
  it("gives back what was saved", () => {
    fc.assert(
      fc.property(regions, (saved) => {
        expect(parseLastGood(formatLastGood(saved, new Date(0))).regions).toEqual(saved);
      }),
    );
  });

  it("gives addresses or nothing, however it was cut or changed", () => {
    fc.assert(
      fc.property(regions, fc.nat(), fc.nat(), fc.string({ maxLength: 3 }), (saved, at, length, text) => {
        const file = formatLastGood(saved, new Date(0));
        const from = at % file.length;
        const changed = file.slice(0, from) + text + file.slice(from + (length % 5));
        for (const { ip, family, port } of attempt(() => parseLastGood(changed))?.regions.flat() ?? []) {
          expect(isIP(ip)).toBe(family);
          expect(port > 0 && port <= 65_535).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.json(), (text) => void attempt(() => parseLastGood(text))));
  });
});

describe("Cloudflare's records", () => {
  const value = fc.oneof(fc.json(), fc.string());

  it("give percentages and a boolean, or nothing", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          value,
          fc
            .record({ dv3_2: fc.jsonValue(), skip_prechecks: fc.jsonValue() }, { requiredKeys: [] })
            .map((record) => JSON.stringify(record)),
        ),
        (text) => {
          const record = attempt(() => parseFeatureRecord(text));
          if (record === undefined) return;
          expect(record.datagramV3Percentage).toBeGreaterThanOrEqual(0);
          expect(typeof record.skipPrechecks).toBe("boolean");
        },
      ),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(value, (text) => {
        for (const share of attempt(() => parseProtocolRecord(text))?.values() ?? []) {
          expect(share).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});

describe("SRV records", () => {
  const record = fc.record({
    priority: fc.nat(65_535),
    weight: fc.nat(65_535),
    port: fc.nat(65_535),
    target: fc.oneof(fc.constantFrom("", ".", "a.test", "A.test.", "b.test"), fc.domain()),
  });
  const chance = fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }));

  it("in any order and of any weight come out once each, by priority", () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 12 }), chance, (records, stream) => {
        const ordered = orderSrv(records, () => stream.next().value as number);
        expect(ordered).toHaveLength(records.length);
        expect(new Set(ordered)).toEqual(new Set(records));
        const priorities = ordered.map(({ priority }) => priority);
        expect(priorities).toEqual([...priorities].sort((a, b) => a - b));
      }),
    );
  });

  it("and whatever addresses give a region or two that can be dialled, or an error that says what is wrong", async () => {
    const hosts = fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 5 });
    const nobody = (): Promise<never> => Promise.reject(new Error("nobody"));
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 6 }), hosts, async (records, ips) => {
        const found = await discoverEdge({
          region: undefined,
          signal: new AbortController().signal,
          random: () => 0.5,
          onWarning: () => {},
          resolvers: {
            srv: () => Promise.resolve(records),
            addresses: () => Promise.resolve(ips.map((ip) => ({ ip, family: ip.includes(":") ? 6 : 4 }))),
            txt: nobody,
            aaaa: nobody,
            overTls: nobody,
          },
        }).catch((error: unknown) => error);
        if (found instanceof Error) {
          expect(found).toBeInstanceOf(EdgeDiscoveryError);
          return;
        }
        const { regions: all } = found as { regions: EdgeAddress[][] };
        expect(all.length).toBeGreaterThan(0);
        expect(all.length).toBeLessThanOrEqual(2);
        for (const region of all) {
          expect(region.length).toBeGreaterThan(0);
          expect(new Set(region.map(({ ip }) => ip)).size).toBe(region.length);
          expect(region.every(({ port }) => port > 0)).toBe(true);
        }
      }),
    );
  });
});
