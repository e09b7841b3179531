/** Durations: milliseconds outside, nanoseconds as Int64 on the wire. */
import { MAX_TIMER_MS } from "./limits.ts";

const NS_PER_MS = 1_000_000n;

/** From 0 up to what a timer takes: the peer's number may be anything. Rounded up, so that "in 1 ns" is not "at once". */
export function msFromNs(nanoseconds: bigint): number {
  if (nanoseconds <= 0n) return 0;
  const milliseconds = (nanoseconds + NS_PER_MS - 1n) / NS_PER_MS;
  return milliseconds > BigInt(MAX_TIMER_MS) ? MAX_TIMER_MS : Number(milliseconds);
}

export function nsFromMs(milliseconds: number): bigint {
  return BigInt(Math.round(Math.min(Math.max(milliseconds, 0), MAX_TIMER_MS))) * NS_PER_MS;
}
