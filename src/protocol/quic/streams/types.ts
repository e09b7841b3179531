/** What users of a connection see of its streams. */

/** How a stream tells its user what happens to it. Called from within the connection's `receive`, `send`, `onTimeout` and `close`. */
export interface QuicStreamSink {
  /** In order. A view, valid during the call; give the bytes back by `consumed` once they are dealt with. */
  onData(chunk: Buffer): void;
  /** The peer has said all: nothing follows from its side. */
  onEnd(): void;
  /** The peer broke its side off (RESET_STREAM): what was not dealt with yet may be dropped. */
  onReset(errorCode: number): void;
  /** The peer wants no more of our side (STOP_SENDING): it has been reset, and writing does nothing from now on. */
  onStopSending(errorCode: number): void;
  /** After `write` returned false: go on. */
  onWritable(): void;
  /** All streams together held more than the memory limit, and of this one nobody had taken anything for longest: both sides were reset. */
  onEvicted(): void;
  /** The connection is gone, and the stream was not over. */
  onClosed?(): void;
}

/** A stream of either kind. On a one-way stream the methods of the side that is not there do nothing. */
export interface QuicStream {
  readonly id: number;
  readonly bidirectional: boolean;
  /** Set it before `onStream` returns. */
  sink: QuicStreamSink;
  /** Copies `chunk`. False = enough for now: pause until onWritable. True and ignored once this side has ended. */
  write(chunk: Buffer, fin: boolean): boolean;
  /** `bytes` of what onData gave have been dealt with: the peer may send as many more. */
  consumed(bytes: number): void;
  /** Nothing can be dealt with before more than the window has come: from now on it is `window`, unless it is that wide already. */
  widen(window: number): void;
  /** RESET_STREAM: our side ends here; what was written and not delivered is dropped. */
  reset(errorCode: number): void;
  /** STOP_SENDING: what still arrives is dropped, and neither onData, onEnd nor onReset is called any more. */
  stopSending(errorCode: number): void;
}
