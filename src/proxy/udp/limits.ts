/** Every bound of UDP sessions, with the cost that it bounds. */

/** Without traffic either way, where the edge names no time (wire § 6, § 7). */
export const DEFAULT_IDLE_MS = 210_000;

/** Sessions of a tunnel, where no limit of flows is set: a socket and a port each, and no machine has more ports for one destination. */
export const MAX_SESSIONS = 65_536;

/** Payloads of a session that wait for its socket, as in cloudflared: about 640 KiB. */
export const MAX_QUEUED_WRITES = 512;

/** How long one may wait: late datagrams are worth less than lost ones. cloudflared's deadline of a write. */
export const WRITE_DEADLINE_MS = 200;

/** Calls at once that tell the edge of sessions' ends, each on a stream of its own: many sessions become idle together. */
export const MAX_UNREGISTERING = 16;

/** How long a session waits for another connection after its own is gone: the edge needs a round trip to ask for it there. */
export const ORPHAN_MS = 5_000;
