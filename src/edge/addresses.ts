/**
 * Which connection uses which address of the edge (wire §§ 2.3 to 2.6). A connection keeps its address across reconnects; a
 * failed one is handed back and another taken, from the region that has more to spare. Time and chance are arguments.
 */
import type { EdgeAddress } from "../types.ts";
import { NoEdgeAddressError } from "./errors.ts";

/** `auto` prefers the family of the first address in the resolver's answer, region by region. */
export type IpVersion = "auto" | "4" | "6";

/** After an IPv6 address could not be reached its region uses IPv4 for so long. */
const FAMILY_SWITCH_MS = 10 * 60_000;

/** One place for one connection; the same address given twice is two of them. */
interface Slot {
  readonly address: EdgeAddress;
  user: number | undefined;
}

interface Region {
  readonly primary: readonly Slot[];
  readonly secondary: readonly Slot[];
  /** Until when the secondary family is in use; 0 = the primary is. */
  secondaryUntil: number;
}

export interface Rotation {
  /** The address could not be reached, as opposed to: this connection wants another one. */
  readonly connectivityError: boolean;
  /** The next address is best of another region: the edge here has a connection of this connector already. */
  readonly otherRegion?: boolean;
}

export interface AddressPool {
  /** The address that the connection has, or a free one. Throws NoEdgeAddressError when there is none at all. */
  assign(connIndex: number, now: number): EdgeAddress;
  /**
   * Hands the connection's address back, so that the next `assign` gives another one. Where no other is free it gives the
   * same again: the caller backs off, it never spins (wire § 14 D4).
   */
  rotate(connIndex: number, rotation: Rotation, now: number): void;
  release(connIndex: number): void;
  /** How many connections have room at once. */
  readonly size: number;
}

function buildRegion(addresses: readonly EdgeAddress[], version: IpVersion): Region {
  const family = version === "auto" ? addresses[0]?.family : Number(version);
  const slots = addresses.map((address): Slot => ({ address, user: undefined }));
  return {
    primary: slots.filter((slot) => slot.address.family === family),
    secondary: version === "auto" ? slots.filter((slot) => slot.address.family !== family) : [],
    secondaryUntil: 0,
  };
}

function free(slots: readonly Slot[], without: Slot | undefined): Slot[] {
  return slots.filter((slot) => slot.user === undefined && slot !== without);
}

/** A pool over the regions of the edge, at least one address in all. `random` is in [0, 1). */
export function createAddressPool(
  regions: readonly (readonly EdgeAddress[])[],
  version: IpVersion,
  random: () => number,
): AddressPool {
  const built = regions.map((addresses) => buildRegion(addresses, version));
  const size = built.reduce((sum, region) => sum + region.primary.length, 0);
  if (size === 0) {
    const wanted = version === "auto" ? "address" : `IPv${version} address`;
    throw new NoEdgeAddressError(
      `no ${wanted} of the edge is known; edge-ip-version "auto" uses whichever family there is`,
    );
  }
  /** What a connection has just handed back, and so does not want again. */
  const unwanted = new Map<number, { readonly slot: Slot; readonly region: Region | undefined }>();

  const active = (region: Region): readonly Slot[] =>
    region.secondaryUntil > 0 && region.secondary.length > 0 ? region.secondary : region.primary;

  const both = (region: Region): readonly Slot[] => [...region.primary, ...region.secondary];

  const slotOf = (connIndex: number): { slot: Slot; region: Region } | undefined => {
    for (const region of built) {
      const slot = both(region).find((candidate) => candidate.user === connIndex);
      if (slot !== undefined) return { slot, region };
    }
    return undefined;
  };

  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];

  const choose = (from: (region: Region) => readonly Slot[], without?: Slot, outside?: Region): Slot | undefined => {
    const candidates = built.map((region) => (region === outside ? [] : free(from(region), without)));
    const most = Math.max(...candidates.map((slots) => slots.length));
    // A tie between regions is decided by chance, so that connections spread over both.
    return most === 0 ? undefined : pick(pick(candidates.filter((slots) => slots.length === most)) ?? []);
  };

  return {
    size,
    assign(connIndex, now) {
      for (const region of built)
        if (region.secondaryUntil > 0 && now >= region.secondaryUntil) region.secondaryUntil = 0;
      const kept = slotOf(connIndex);
      if (kept !== undefined) return kept.slot.address;
      const before = unwanted.get(connIndex);
      unwanted.delete(connIndex);
      // An address of the family that is not in use now is better than the one that has just failed, and that better than none.
      const slot =
        choose(active, before?.slot, before?.region) ??
        choose(active, before?.slot) ??
        choose(both, before?.slot) ??
        choose(both);
      if (slot === undefined) throw new NoEdgeAddressError("all addresses of the edge are in use");
      slot.user = connIndex;
      return slot.address;
    },
    rotate(connIndex, { connectivityError, otherRegion }, now) {
      const kept = slotOf(connIndex);
      if (kept === undefined) return;
      const { slot, region } = kept;
      slot.user = undefined;
      unwanted.set(connIndex, { slot, region: otherRegion === true ? region : undefined });
      if (!connectivityError || region.primary[0]?.address.family !== 6) return;
      if (slot.address.family === 6 && region.secondaryUntil === 0 && region.secondary.length > 0) {
        region.secondaryUntil = now + FAMILY_SWITCH_MS;
      } else if (slot.address.family === 4) {
        region.secondaryUntil = 0;
      }
    },
    release(connIndex) {
      const kept = slotOf(connIndex);
      if (kept !== undefined) kept.slot.user = undefined;
      unwanted.delete(connIndex);
    },
  };
}
