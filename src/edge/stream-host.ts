import type { CancelReason } from "../types.ts";

/** What a stream of either transport needs of its connection. */
export interface StreamHost {
  /** Why the connection itself is being closed, if this side closes it. */
  readonly closingReason: CancelReason | undefined;
  /** A consumer threw: a defect on our side, which costs this one request and never the connection. */
  defect(error: unknown): void;
}
