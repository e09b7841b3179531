/** The sending part of a stream (RFC 9000 § 3.1). What is done with it stands in sender.ts. */
import type { Outgoing } from "./outgoing.ts";

/**
 * `open`: more may be written. `ending`: the end is known. `reset`: a RESET_STREAM is on its way. `done`: the peer has acknowledged
 * all, or the reset.
 */
export type SendState = "open" | "ending" | "reset" | "done";

export class SendSide {
  state: SendState = "open";
  /** MAX_STREAM_DATA of the peer. */
  limit: number;
  /** What was written and is not acknowledged; undefined until the first write. */
  bytes: Outgoing | undefined = undefined;
  finSent = false;
  finAcked = false;
  /** The FIN must go out again. */
  finLost = false;
  /** Of our RESET_STREAM. */
  resetCode = 0;
  /** Where the stream was when it was reset. */
  finalSize = 0;
  /** The limit that a STREAM_DATA_BLOCKED told of. */
  blockedAt = -1;
  /** A writer waits for onWritable. */
  paused = false;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Written and never sent. */
  get unsent(): number {
    return this.bytes === undefined ? 0 : this.bytes.end - this.bytes.next;
  }
}
