/**
 * Which connection uses which address of the edge (wire §§ 2.3 to 2.6). A connection keeps its address across reconnects; a
 * failed one is handed back and another taken, from the region that has more to spare. Time and chance are arguments.
 */
import type { EdgeAddress } from "../types.ts";
import { NoEdgeAddressError } from "./errors.ts";

/** `auto` prefers the family of the first address in the resolver's answer, region by region. */
export type IpVersion = "auto" | "4" | "6";

/** Whether this machine has a way to addresses of a family, as far as it knows. */
export type Routes = Readonly<Record<4 | 6, boolean>>;

/** After addresses of its preferred family could not be reached a region uses the other one for so long. */
const FAMILY_SWITCH_MS = 10 * 60_000;
/** How many failures turn a region away from a family: half-configured IPv6 is common, half-configured IPv4 is not. */
const FAILURES_TO_SWITCH: Readonly<Record<4 | 6, number>> = { 4: 2, 6: 1 };
const EVERYWHERE: Routes = { 4: true, 6: true };

/** One place for one connection; the same address given twice is two of them. */
interface Slot {
  readonly address: EdgeAddress;
  user: number | undefined;
}

interface Region {
  readonly primary: readonly Slot[];
  readonly secondary: readonly Slot[];
  /** Dials in a row to the primary family that have failed. */
  failures: number;
  /** Until when the secondary family is in use; 0 = the primary is. */
  secondaryUntil: number;
}

export interface Rotation {
  /** The address could not be reached, as opposed to: this connection wants another one. Another region is best then, too. */
  readonly connectivityError: boolean;
  /** The next address is best of another region: the edge here has a connection of this connector already, or fell silent. */
  readonly otherRegion?: boolean;
}

export interface AddressPool {
  /**
   * The address that the connection has, or a free one, of a family that has a route where there is one. Throws
   * NoEdgeAddressError when there is none at all.
   */
  assign(connIndex: number, now: number, routes?: Routes): EdgeAddress;
  /**
   * Hands the connection's address back, so that the next `assign` gives another one. Where no other is free it gives the
   * same again: the caller backs off, it never spins (wire § 14 D4).
   */
  rotate(connIndex: number, rotation: Rotation, now: number): void;
  release(connIndex: number): void;
  /**
   * Other addresses from now on. A connection keeps its place at an address that is still there; one whose address is gone gets
   * another with its next `assign`. Throws NoEdgeAddressError, and changes nothing, when none is left.
   */
  update(regions: readonly (readonly EdgeAddress[])[]): void;
  /** Forgets what failed: it failed in another network. */
  forgetFailures(): void;
  /** How many connections have room at once, where those routes are all there are. */
  size(routes?: Routes): number;
  /** The families of its addresses. */
  readonly families: ReadonlySet<4 | 6>;
}

function buildRegion(addresses: readonly EdgeAddress[], version: IpVersion): Region {
  const family = version === "auto" ? addresses[0]?.family : Number(version);
  const slots = addresses.map((address): Slot => ({ address, user: undefined }));
  return {
    primary: slots.filter((slot) => slot.address.family === family),
    secondary: version === "auto" ? slots.filter((slot) => slot.address.family !== family) : [],
    failures: 0,
    secondaryUntil: 0,
  };
}

function buildRegions(regions: readonly (readonly EdgeAddress[])[], version: IpVersion): readonly Region[] {
  const built = regions.map((addresses) => buildRegion(addresses, version));
  if (built.some((region) => slotsOf(region).length > 0)) return built;
  const wanted = version === "auto" ? "address" : `IPv${version} address`;
  throw new NoEdgeAddressError(
    `no ${wanted} of the edge is known; edge-ip-version "auto" uses whichever family there is`,
  );
}

function slotsOf({ primary, secondary }: Region): readonly Slot[] {
  return [...primary, ...secondary];
}

/** Of the family in use, unless no way leads there and one leads to the other. */
function preferred({ primary, secondary, secondaryUntil }: Region, routes: Routes): readonly Slot[] {
  const [first, second] = secondaryUntil > 0 && secondary.length > 0 ? [secondary, primary] : [primary, secondary];
  const isRouted = (slots: readonly Slot[]): boolean => slots[0] !== undefined && routes[slots[0].address.family];
  return !isRouted(first) && isRouted(second) ? second : first;
}

function isSame(one: EdgeAddress, other: EdgeAddress): boolean {
  return one.ip === other.ip && one.port === other.port;
}

function free(slots: readonly Slot[], without: EdgeAddress | undefined): Slot[] {
  return slots.filter(
    ({ address, user }) => user === undefined && (without === undefined || !isSame(address, without)),
  );
}

/** A pool over the regions of the edge, at least one address in all. `random` is in [0, 1). */
export function createAddressPool(
  regions: readonly (readonly EdgeAddress[])[],
  version: IpVersion,
  random: () => number,
): AddressPool {
  let built = buildRegions(regions, version);
  /** What a connection has just handed back, and so does not want again. */
  const unwanted = new Map<number, { readonly address: EdgeAddress; readonly region: Region | undefined }>();

  const slotOf = (connIndex: number): { slot: Slot; region: Region } | undefined => {
    for (const region of built) {
      const slot = slotsOf(region).find((candidate) => candidate.user === connIndex);
      if (slot !== undefined) return { slot, region };
    }
    return undefined;
  };

  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];

  const choose = (
    from: (region: Region) => readonly Slot[],
    without?: EdgeAddress,
    outside?: Region,
  ): Slot | undefined => {
    const candidates = built.map((region) => (region === outside ? [] : free(from(region), without)));
    const most = Math.max(...candidates.map((slots) => slots.length));
    // A tie between regions is decided by chance, so that connections spread over both.
    return most === 0 ? undefined : pick(pick(candidates.filter((slots) => slots.length === most)) ?? []);
  };

  const isUsable = ({ address }: Slot, routes: Routes): boolean => {
    if (routes[address.family]) return true;
    // With no way to anywhere any address is as good as another.
    return !built.some((region) => slotsOf(region).some((slot) => routes[slot.address.family]));
  };

  return {
    size: (routes = EVERYWHERE) => built.flatMap(slotsOf).filter((slot) => isUsable(slot, routes)).length,
    get families() {
      return new Set(built.flatMap(slotsOf).map(({ address }) => address.family));
    },
    assign(connIndex, now, routes = EVERYWHERE) {
      for (const region of built)
        if (region.secondaryUntil > 0 && now >= region.secondaryUntil) region.secondaryUntil = 0;
      const kept = slotOf(connIndex);
      if (kept !== undefined && isUsable(kept.slot, routes)) return kept.slot.address;
      if (kept !== undefined) kept.slot.user = undefined;
      const before = unwanted.get(connIndex);
      unwanted.delete(connIndex);
      const inUse = (region: Region): readonly Slot[] =>
        preferred(region, routes).filter((slot) => isUsable(slot, routes));
      const routed = (region: Region): readonly Slot[] => slotsOf(region).filter((slot) => isUsable(slot, routes));
      // An address of the family that is not in use now is better than the one that has just failed, and that better than none.
      const slot =
        choose(inUse, before?.address, before?.region) ??
        choose(inUse, before?.address) ??
        choose(routed, before?.address) ??
        choose(routed);
      if (slot === undefined) throw new NoEdgeAddressError("all addresses of the edge are in use");
      slot.user = connIndex;
      return slot.address;
    },
    rotate(connIndex, { connectivityError, otherRegion }, now) {
      const kept = slotOf(connIndex);
      if (kept === undefined) return;
      const { slot, region } = kept;
      slot.user = undefined;
      // Of a region that is down each address fails, and it has the most to spare: the next try goes elsewhere.
      const elsewhere = otherRegion === true || connectivityError;
      unwanted.set(connIndex, { address: slot.address, region: elsewhere ? region : undefined });
      const { family } = slot.address;
      if (!connectivityError || region.secondary.length === 0) return;
      if (family !== region.primary[0]?.address.family) {
        region.secondaryUntil = 0;
      } else if (region.secondaryUntil === 0 && ++region.failures >= FAILURES_TO_SWITCH[family]) {
        region.failures = 0;
        region.secondaryUntil = now + FAMILY_SWITCH_MS;
      }
    },
    release(connIndex) {
      const kept = slotOf(connIndex);
      if (kept !== undefined) kept.slot.user = undefined;
      unwanted.delete(connIndex);
    },
    update(newRegions) {
      const next = buildRegions(newRegions, version);
      const places = next.flatMap(slotsOf);
      for (const { address, user } of built.flatMap(slotsOf)) {
        if (user === undefined) continue;
        const place = free(places, undefined).find((candidate) => isSame(candidate.address, address));
        if (place !== undefined) place.user = user;
      }
      // Regions have no names: what was said of the old ones can't be said of the new ones.
      for (const [connIndex, { address }] of unwanted) unwanted.set(connIndex, { address, region: undefined });
      built = next;
    },
    forgetFailures() {
      for (const region of built) {
        region.failures = 0;
        region.secondaryUntil = 0;
      }
    },
  };
}
