/**
 * The paths to the peer (RFC 9000 § 9). A client's is the only one; a server's client may turn up at another address, as behind a NAT:
 *
 *   followed ──its newest packet comes from elsewhere, and does not only probe──▶ that path is followed; both are challenged
 *   followed, not validated ──no answer in time──▶ the last one that was validated is followed again
 *   others: what they are asked, and what we ask, goes over them; nothing else
 */
import { MAX_OTHER_PATHS } from "../limits.ts";
import type { PathState } from "../recovery/path-state.ts";
import { RoundTripTime } from "../recovery/round-trip-time.ts";
import { Path } from "./path.ts";

const CHALLENGE_LENGTH = 8;

/** In probe timeouts (§ 8.2.4). */
const VALIDATION_TIMEOUTS = 3;

/** What paths need of their connection. */
export interface PathsHost {
  readonly now: number;
  readonly random: (length: number) => Buffer;
  /** Probe timeout of the followed path. */
  pto(): number;
  newPathState(): PathState;
  /** Another path is followed, or the same from another port. */
  onPathChanged(state: PathState): void;
}

/** The address without its port. */
export const hostOf = (address: string): string => address.slice(0, Math.max(0, address.lastIndexOf(":")));

export class Paths {
  readonly #host: PathsHost;
  #current: Path;
  /** The one over which the datagram at hand came. */
  #arrival: Path;
  /** The last that was validated, while the followed one is not. */
  #proven: Path | undefined;
  /** Newest first. */
  #others: Path[] = [];
  /** The largest packet number of those that do not only probe. */
  #newest = -1;
  /** By the peer's host: a NAT that gives out another port leaves the path what it was (§ 9.4). */
  readonly #states = new Map<string, PathState>();

  constructor(host: PathsHost, first: Path, state: PathState) {
    this.#host = host;
    this.#current = first;
    this.#arrival = first;
    this.#states.set(hostOf(first.address), state);
  }

  /** The one that all goes over. */
  get current(): Path {
    return this.#current;
  }

  /** A datagram has come from an address. */
  onDatagram(address: string, bytes: number): void {
    const isCurrent = address === this.#current.address;
    const known = isCurrent ? this.#current : this.#others.find((path) => path.address === address);
    this.#arrival = known ?? new Path(address, false);
    this.#arrival.onReceived(bytes);
  }

  /** It is answered over the path that it came over (§ 8.2.2). */
  onChallenge(data: Buffer): void {
    this.#arrival.onChallenge(data);
    if (this.#arrival !== this.#current) this.#keep(this.#arrival);
  }

  /** One that answers no challenge of ours is late, and says nothing. */
  onResponse(data: Buffer): void {
    const path = [this.#current, ...this.#others].find((one) => one.onResponse(data));
    if (path === undefined) return;
    if (path === this.#current) this.#proven = undefined;
    this.#prune();
  }

  /** A 1-RTT packet does not only probe: the newest of them tells where the client is (§ 9.3); an older one was just longer on its way. */
  onNonProbing(packetNumber: number): void {
    if (packetNumber <= this.#newest) return;
    this.#newest = packetNumber;
    if (this.#arrival !== this.#current) this.#migrate(this.#arrival);
  }

  /** When `onTimeout` or, for what waits on other paths, `send` wants to be called. */
  deadline(least: number): number {
    let earliest = this.#current.validationDeadline ?? Number.POSITIVE_INFINITY;
    for (const path of this.#others) {
      earliest = Math.min(earliest, path.validationDeadline ?? earliest);
      if (path.allowance >= least) earliest = Math.min(earliest, path.challengeDeadline() ?? earliest);
    }
    return earliest;
  }

  onTimeout(): void {
    const { now } = this.#host;
    for (const path of [this.#current, ...this.#others]) {
      const at = path.validationDeadline;
      if (at === undefined || now < at) continue;
      path.giveUp();
      // The peer is not there, or someone made it seem so (§ 9.3.2).
      if (path === this.#current && !path.validated && this.#proven !== undefined) this.#follow(this.#proven);
    }
    this.#prune();
  }

  /** Another path than the followed one over which something is to go, and `least` bytes may. */
  waiting(least: number): Path | undefined {
    return this.#others.find((path) => path.wants(this.#host.now) && path.allowance >= least);
  }

  /** Something went out over another path. */
  onSent(): void {
    this.#prune();
  }

  #migrate(to: Path): void {
    const host = this.#host;
    const from = this.#current;
    // § 8.2.4: the new path may be slower than the one that we know.
    const pto = Math.max(host.pto(), new RoundTripTime().probeTimeout(0));
    const until = host.now + VALIDATION_TIMEOUTS * pto;
    const ask = (path: Path): void => path.challenge(host.random(CHALLENGE_LENGTH), host.now, until);
    // What leads the client's packets here may be another one: the path that it left is asked as well (§ 9.3.3).
    if (from.validated) {
      this.#proven = from;
      ask(from);
    }
    this.#keep(from);
    if (!to.validated) ask(to);
    this.#follow(to);
  }

  #follow(path: Path): void {
    this.#current = path;
    if (path.validated) this.#proven = undefined;
    this.#others = this.#others.filter((one) => one !== path);
    const host = hostOf(path.address);
    const state = this.#states.get(host) ?? this.#host.newPathState();
    this.#states.set(host, state);
    this.#prune();
    this.#host.onPathChanged(state);
  }

  #keep(path: Path): void {
    if (this.#others.includes(path)) return;
    this.#others.unshift(path);
    if (this.#others.length <= MAX_OTHER_PATHS) return;
    const oldest = this.#others.findLastIndex((one) => one !== this.#proven);
    this.#others.splice(oldest, 1);
  }

  /** Forgets the paths that nobody asks any more, and what was measured of hosts that are none of the peer's. */
  #prune(): void {
    this.#others = this.#others.filter((path) => path === this.#proven || !path.isDone);
    const used = [this.#current, this.#proven ?? this.#current].map((path) => hostOf(path.address));
    for (const host of this.#states.keys()) {
      if (!used.includes(host)) this.#states.delete(host);
    }
  }
}
