import type { CancelReason } from "../types.ts";

/** What a stream of either transport needs of its connection. */
export interface StreamHost {
  /** Why the connection itself is being closed, if this side closes it. */
  readonly closingReason: CancelReason | undefined;
  /** Streams that were broken off, by either side; a stream counts itself. */
  resets: number;
  /** A consumer threw: a defect on our side, which costs this one request and never the connection. */
  defect(error: unknown): void;
}
