/** One direction of a path that does to datagrams what networks do. Everything follows from the seed. */
import type { Random } from "./random.ts";

export interface LinkOptions {
  /** One way, in milliseconds. */
  readonly delay: number;
  /** Added to the delay at random. */
  readonly jitter: number;
  /** Probabilities, per datagram. */
  readonly loss: number;
  readonly duplicate: number;
  readonly corrupt: number;
  /** Overtaken by what is sent within `reorderBy` milliseconds. */
  readonly reorder: number;
  readonly reorderBy: number;
  /** That a burst of losses begins, and how many datagrams it has on average. */
  readonly burst: number;
  readonly burstLength: number;
  /** The largest datagram that passes, and from when on it is another: a black hole. */
  readonly mtu: number;
  readonly laterMtu: number;
  readonly laterMtuAt: number;
  /** Nothing passes between these times. */
  readonly outageFrom: number;
  readonly outageTo: number;
  /** Loses the datagrams with these numbers, from 0 on. */
  readonly drop?: ReadonlySet<number>;
  /** Bytes in a millisecond, and how many of them wait at most for their turn. */
  readonly bandwidth: number;
  readonly queue: number;
}

/** A path without any trouble. */
export const PERFECT: LinkOptions = {
  delay: 10,
  jitter: 0,
  loss: 0,
  duplicate: 0,
  corrupt: 0,
  reorder: 0,
  reorderBy: 0,
  burst: 0,
  burstLength: 0,
  mtu: 1500,
  laterMtu: 1500,
  laterMtuAt: Number.POSITIVE_INFINITY,
  outageFrom: Number.POSITIVE_INFINITY,
  outageTo: Number.POSITIVE_INFINITY,
  bandwidth: Number.POSITIVE_INFINITY,
  queue: Number.POSITIVE_INFINITY,
};

/** Milliseconds. Who sends little does not see a burst for hours. */
const MAX_BURST_TIME = 1_000;

export interface Arrival {
  readonly at: number;
  readonly bytes: Buffer;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #random: Random;
  #burstLeft = 0;
  #burstUntil = 0;
  /** Datagrams that were sent. */
  #count = 0;
  /** When the last byte in the queue is on its way. */
  #freeAt = 0;

  constructor(options: LinkOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** What arrives of a datagram: nothing, it, or more than one. */
  send(datagram: Buffer, now: number): Arrival[] {
    const { loss, burst, burstLength, mtu, laterMtu, laterMtuAt, outageFrom, outageTo, bandwidth, queue, drop } =
      this.#options;
    const random = this.#random;
    const isLost = random.chance(loss);
    const begins = random.chance(burst);
    if (this.#burstLeft > 0 && now < this.#burstUntil) {
      this.#burstLeft--;
    } else if (begins) {
      this.#burstLeft = random.integer(1, 2 * burstLength);
      this.#burstUntil = now + MAX_BURST_TIME;
    } else {
      this.#burstLeft = 0;
    }
    const isBlocked = (now >= outageFrom && now < outageTo) || drop?.has(this.#count) === true;
    this.#count++;
    if (isBlocked || datagram.length > (now >= laterMtuAt ? laterMtu : mtu)) return [];
    const start = Math.max(now, this.#freeAt);
    if ((start - now) * bandwidth > queue) return [];
    this.#freeAt = start + datagram.length / bandwidth;
    if (isLost || this.#burstLeft > 0) return [];
    const arrivals = [this.#arrival(datagram, this.#freeAt)];
    if (random.chance(this.#options.duplicate)) arrivals.push(this.#arrival(datagram, this.#freeAt));
    return arrivals;
  }

  #arrival(datagram: Buffer, from: number): Arrival {
    const { delay, jitter, reorder, reorderBy, corrupt } = this.#options;
    const random = this.#random;
    const extra = random.chance(reorder) ? random.between(0, reorderBy) : 0;
    const at = from + delay + random.between(0, jitter) + extra;
    const bytes = Buffer.from(datagram);
    if (!random.chance(corrupt)) return { at, bytes };
    for (let n = random.integer(1, 3); n > 0; n--) {
      const i = random.integer(0, bytes.length - 1);
      bytes[i] = (bytes[i] as number) ^ (1 << random.integer(0, 7));
    }
    const cut = random.chance(0.2) ? random.integer(0, bytes.length) : bytes.length;
    return { at, bytes: bytes.subarray(0, cut) };
  }
}
