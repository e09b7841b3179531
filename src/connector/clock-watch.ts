/**
 * Notices that the process was frozen (a container that was paused, a laptop that slept): the wall clock has moved on
 * further than a timer should have let it. A monotonic clock alone stands still while the machine sleeps.
 */

const PERIOD_MS = 5_000;
/** Shorter pauses are bridged by the PINGs of the connections. */
const FREEZE_MS = 20_000;

/** Calls `onThaw` with the length of each freeze, in milliseconds. Returns the function that ends it. */
export function watchClock(onThaw: (frozenMs: number) => void): () => void {
  let last = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    const frozenMs = now - last - PERIOD_MS;
    last = now;
    if (frozenMs >= FREEZE_MS) onThaw(frozenMs);
  }, PERIOD_MS);
  timer.unref();
  return () => clearInterval(timer);
}
