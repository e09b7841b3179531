/** The receiving part of a stream (RFC 9000 § 3.2). What is done with it stands in receiver.ts. */
import type { Reassembly } from "./reassembly.ts";

/**
 * `receiving`: bytes go to the sink. `discarding`: we sent STOP_SENDING, and wait for the final size. `done`: all has come, or
 * nothing more is wanted.
 */
export type ReceiveState = "receiving" | "discarding" | "done";

export class ReceiveSide {
  state: ReceiveState = "receiving";
  /** The end of what has come, gaps included: it counts against the limits. */
  highest = 0;
  /** Everything before it went to the sink. */
  delivered = 0;
  /** What the sink's owner has dealt with of it. */
  consumed = 0;
  /** MAX_STREAM_DATA as the peer has, or will soon have it. */
  limit: number;
  /** How far `limit` runs ahead of `consumed`, while memory is plenty. */
  window: number;
  /** Where and when the window's use was last looked at. */
  measuredFrom = 0;
  measuredAt: number;
  finalSize: number | undefined = undefined;
  /** What came before its turn. */
  pieces: Reassembly | undefined = undefined;
  /** Of our STOP_SENDING. */
  stopCode = 0;

  constructor(window: number, now: number) {
    this.limit = window;
    this.window = window;
    this.measuredAt = now;
  }
}
