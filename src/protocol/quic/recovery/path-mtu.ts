/**
 * The largest datagram that the path carries (DPLPMTUD, RFC 8899; RFC 9000 § 14.3): probes of a size are tried, up to three of each,
 * and the range between what passed and what did not is halved. Where large packets stop to arrive although small ones do (a black
 * hole), it begins again at the size that every path carries.
 */
import { MIN_DATAGRAM_SIZE } from "../limits.ts";

export interface PathMtuOptions {
  readonly initial?: number | undefined;
  readonly maximum?: number | undefined;
}

/** Of IPv6 in Ethernet's 1500 bytes, with some room for a tunnel's header; cloudflared's own. */
const DEFAULT_MAXIMUM = 1452;

/** Probes of one size (RFC 8899 § 5.1.2, MAX_PROBES). */
const MAX_PROBES = 3;

/** Sizes closer together than this are not told apart: the gain is not worth a probe. */
const RESOLUTION = 20;

/** Until a larger size is tried again (RFC 8899 § 5.1.1, PMTU_RAISE_TIMER). */
const RAISE_INTERVAL = 600_000;

/** Times that large packets were lost, with none acknowledged in between, that make a black hole. */
const BLACK_HOLE_LOSSES = 3;

/** Probe timeouts in a row after which the size may be what keeps the answers away. */
const BLACK_HOLE_TIMEOUTS = 3;

type Search =
  /** Waits until the path is known to carry anything at all. */
  | { readonly kind: "unconfirmed" }
  | { readonly kind: "ready" }
  | { readonly kind: "probing"; readonly size: number }
  | { readonly kind: "done"; readonly at: number };

export class PathMtu {
  #current: number;
  /** What the path may carry. */
  #maximum: number;
  /** The least size that did not pass, less one. */
  #ceiling: number;
  #search: Search = { kind: "ready" };
  /** Probes of the size at hand that were lost. */
  #lostProbes = 0;
  /** Times that packets were lost since one of their size was acknowledged, the last of them, and the smallest such packet. */
  #losses = 0;
  #lossAt: number | undefined = undefined;
  #lossSize = Number.POSITIVE_INFINITY;

  constructor(options: PathMtuOptions = {}) {
    this.#current = Math.max(options.initial ?? MIN_DATAGRAM_SIZE, MIN_DATAGRAM_SIZE);
    this.#maximum = Math.max(options.maximum ?? DEFAULT_MAXIMUM, this.#current);
    this.#ceiling = this.#maximum;
  }

  /** The largest datagram to send. */
  get current(): number {
    return this.#current;
  }

  /** A probe is on its way, or will be. */
  get searching(): boolean {
    return this.#search.kind !== "done";
  }

  /** The peer takes no larger datagrams (RFC 9000 § 18.2). */
  setPeerLimit(size: number): void {
    this.#maximum = Math.max(MIN_DATAGRAM_SIZE, Math.min(this.#maximum, size));
    this.#ceiling = Math.min(this.#ceiling, this.#maximum);
    this.#current = Math.min(this.#current, this.#maximum);
  }

  /** The size to probe now; undefined = none. */
  probeDue(now: number): number | undefined {
    if (this.#search.kind === "done" && now >= this.#search.at + RAISE_INTERVAL) {
      this.#ceiling = this.#maximum;
      this.#search = { kind: "ready" };
    }
    if (this.#search.kind !== "ready") return undefined;
    if (this.#ceiling - this.#current < RESOLUTION && this.#ceiling !== this.#maximum) return this.#finish(now);
    if (this.#ceiling === this.#current) return this.#finish(now);
    // Most paths carry the maximum.
    return this.#ceiling === this.#maximum ? this.#maximum : Math.ceil((this.#current + this.#ceiling) / 2);
  }

  onProbeSent(size: number): void {
    this.#search = { kind: "probing", size };
  }

  /** Another path is used for a time: what becomes of a probe that is on its way is not told. */
  pause(): void {
    if (this.#search.kind === "probing") this.#search = { kind: "ready" };
  }

  onProbeAcked(size: number): void {
    this.#arrived(size);
    if (size > this.#current) this.#current = Math.min(size, this.#maximum);
    if (this.#search.kind !== "probing" || this.#search.size !== size) return;
    this.#lostProbes = 0;
    this.#search = { kind: "ready" };
  }

  onProbeLost(size: number): void {
    if (this.#search.kind !== "probing" || this.#search.size !== size) return;
    if (++this.#lostProbes >= MAX_PROBES) this.#fails(size);
    this.#search = { kind: "ready" };
  }

  /** A packet that was no probe has arrived. */
  onPacketAcked(size: number): void {
    this.#arrived(size);
    if (this.#search.kind === "unconfirmed") this.#search = { kind: "ready" };
  }

  /** A packet that was no probe is lost. What is lost at one time counts once: a burst is congestion. */
  onPacketLost(size: number, now: number): void {
    if (size <= MIN_DATAGRAM_SIZE || size > this.#current || now === this.#lossAt) return;
    this.#lossAt = now;
    this.#lossSize = Math.min(this.#lossSize, size);
    if (++this.#losses >= BLACK_HOLE_LOSSES) this.#blackHole();
  }

  /** `count` probe timeouts came in a row: nothing at all arrives, which may be for the size. */
  onProbeTimeout(count: number): void {
    if (count >= BLACK_HOLE_TIMEOUTS && this.#current > MIN_DATAGRAM_SIZE) this.#blackHole();
  }

  /**
   * The network told the system that a datagram was too large for the path. From then on the system cuts such datagrams into
   * fragments, which RFC 9000 § 14 forbids, and a probe would arrive all the same: none above `limit` is sent any more.
   */
  onTooBig(limit: number): void {
    this.#maximum = Math.max(MIN_DATAGRAM_SIZE, Math.min(this.#maximum, limit));
    this.#blackHole();
  }

  #fails(size: number): void {
    this.#lostProbes = 0;
    this.#ceiling = Math.max(this.#current, Math.min(this.#ceiling, size - 1));
  }

  #arrived(size: number): void {
    if (size < this.#lossSize) return;
    this.#losses = 0;
    this.#lossSize = Number.POSITIVE_INFINITY;
  }

  #blackHole(): void {
    this.#current = MIN_DATAGRAM_SIZE;
    this.#ceiling = this.#maximum;
    this.#lostProbes = 0;
    this.#arrived(Number.POSITIVE_INFINITY);
    this.#search = { kind: "unconfirmed" };
  }

  #finish(now: number): undefined {
    this.#search = { kind: "done", at: now };
    return undefined;
  }
}
