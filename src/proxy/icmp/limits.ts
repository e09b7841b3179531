/** Every bound of ICMP, with the cost that it bounds. */

/** Echo requests under way: a process of about 1 MiB each. */
export const MAX_PINGS = 64;

/** Packets that wait for an answer, or for what is being found out about this machine: 1280 bytes each. */
export const MAX_PENDING = 256;

/** Echo requests in a second: starting a process takes a few milliseconds of CPU. As many may come at once. */
export const MAX_PINGS_PER_SECOND = 100;

/** How long an answer may take. */
export const PING_WAIT_MS = 4_000;

/** A process that is still there by then is killed. */
export const PING_KILL_MS = PING_WAIT_MS + 2_000;

/** Without a request, a flow forgets which connection its answers go to (wire § 8). */
export const FLOW_IDLE_MS = 10_000;

/** Flows that are remembered: a scan of many addresses makes one for each. */
export const MAX_FLOWS = 4096;

/** How old the knowledge of this machine's addresses may be: it may have moved to another network. */
export const SOURCE_REFRESH_MS = 5 * 60_000;
