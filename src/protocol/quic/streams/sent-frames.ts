/**
 * What of streams one packet carried: what to tell them when it is acknowledged, what to send again when it is lost. Most packets
 * carry one STREAM frame, which stands in the record itself.
 */
import type { Stream } from "./stream.ts";

/** A STREAM frame: bytes `offset` to `end` of a stream, and whether its FIN. */
export class SentStreamFrame {
  stream: Stream | undefined = undefined;
  offset = 0;
  end = 0;
  fin = false;
  next: SentStreamFrame | undefined = undefined;
}

/** A frame that carries no data: the latest of its kind is sent again, if it still matters. */
export interface SentControlFrame {
  readonly type: number;
  /** Undefined = it concerns all streams. */
  readonly stream: Stream | undefined;
  /** The limit or the error code that it told. */
  readonly value: number;
}

/** The part of a packet's record that is the streams' and the CRYPTO streams'. */
export class SentFrames extends SentStreamFrame {
  controls: SentControlFrame[] | undefined = undefined;
  /** A CRYPTO frame: where its bytes begin and end; -1 = none. */
  cryptoOffset = -1;
  cryptoEnd = -1;
}
