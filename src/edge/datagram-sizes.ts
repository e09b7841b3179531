/**
 * What this process knows of the paths to the edge's addresses. Once a router has said that a datagram was too large, the system
 * remembers it for ten minutes and cuts all that are larger, without another word: no connection to that address may try any.
 */
import { datagramOfEveryPath, largestDatagramToTry } from "./link-mtu.ts";

/** The system's memory (Linux: net.ipv4.route.mtu_expires, 600 s), and some more. */
const NARROW_MS = 660_000;

export class DatagramSizes {
  readonly #discovery: boolean;
  readonly #largest: (localAddress: string) => number;
  /** By remote address: until when its path counts as narrow. */
  readonly #narrow = new Map<string, number>();
  readonly #followers = new Map<string, Set<() => void>>();

  /** @param discovery false: no datagram is tried that not every path carries */
  constructor(discovery: boolean, largest: (localAddress: string) => number = largestDatagramToTry) {
    this.#discovery = discovery;
    this.#largest = largest;
  }

  /** Bytes of the largest datagram to try. */
  largest(remoteIp: string, localAddress: string, now: number): number {
    const narrow = (this.#narrow.get(remoteIp) ?? Number.NEGATIVE_INFINITY) > now;
    return this.#discovery && !narrow ? this.#largest(localAddress) : datagramOfEveryPath(localAddress);
  }

  /** A datagram to that address was too large for the path. */
  onTooBig(remoteIp: string, now: number): void {
    for (const [ip, until] of this.#narrow) if (until <= now) this.#narrow.delete(ip);
    this.#narrow.set(remoteIp, now + NARROW_MS);
    for (const follower of this.#followers.get(remoteIp) ?? []) follower();
  }

  /** Calls back when the path turns out to be narrow, until what this returns is called. */
  follow(remoteIp: string, onNarrow: () => void): () => void {
    const followers = this.#followers.get(remoteIp) ?? new Set();
    this.#followers.set(remoteIp, followers.add(onNarrow));
    return () => {
      followers.delete(onNarrow);
      if (followers.size === 0) this.#followers.delete(remoteIp);
    };
  }
}
