/** Frames that steer and carry nothing: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY (RFC 9113 § 6). */
import { flowControlError, Http2ConnectionError, protocolError } from "./errors.ts";
import type { Floods } from "./floods.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { readUint32 } from "./frames.ts";
import { SETTINGS_COST } from "./limits.ts";
import type { PeerSettings } from "./settings.ts";
import type { Streams } from "./streams.ts";
import { ErrorCode, type Http2ConnectionHandler } from "./types.ts";
import type { Watchdog } from "./watchdog.ts";

const STREAM_ID = 0x7fffffff;

export interface ControlContext {
  readonly handler: Http2ConnectionHandler;
  readonly streams: Streams;
  readonly writer: FrameWriter;
  readonly peer: PeerSettings;
  readonly floods: Floods;
  readonly watchdog: Watchdog;
  readonly isIdle: (streamId: number) => boolean;
  /** The peer opens no more streams, and takes none above `lastStreamId`. */
  readonly onLeaving: (lastStreamId: number) => void;
}

export class ControlFrames {
  readonly #context: ControlContext;
  /** The peer's first SETTINGS have come. */
  settingsCame = false;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  settings(streamId: number, isAck: boolean, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError("SETTINGS on a stream");
    if (isAck) this.#settingsAck();
    else this.#settings(bytes, start, end);
  }

  /** The memory budget got short, or is free again. */
  adaptWindows(): void {
    const { streams, watchdog } = this.#context;
    if (streams.receiver.adapt()) watchdog.awaitAcknowledgement();
  }

  ping(streamId: number, isAck: boolean, bytes: Buffer, start: number): void {
    if (streamId !== 0) throw protocolError("PING on a stream");
    const { floods, handler, watchdog, writer } = this.#context;
    floods.overhead();
    if (!isAck) {
      writer.pingAck(bytes, start);
      return;
    }
    if (readUint32(bytes, start) !== 0) return;
    const roundTrip = watchdog.ponged(readUint32(bytes, start + 4), floods.now);
    if (roundTrip !== undefined) handler.onPong?.(roundTrip);
  }

  goaway(streamId: number, bytes: Buffer, start: number): void {
    if (streamId !== 0) throw protocolError("GOAWAY on a stream");
    const { floods, handler, onLeaving } = this.#context;
    floods.overhead();
    const lastStreamId = readUint32(bytes, start) & STREAM_ID;
    onLeaving(lastStreamId);
    handler.onGoaway?.(readUint32(bytes, start + 4), lastStreamId);
  }

  windowUpdate(streamId: number, bytes: Buffer, start: number): void {
    const { floods, streams, isIdle } = this.#context;
    const increment = readUint32(bytes, start) & 0x7fffffff;
    floods.windowUpdate();
    if (streamId === 0) {
      if (increment === 0) throw protocolError("a WINDOW_UPDATE of 0 for the connection");
      streams.sender.widen(increment);
      return;
    }
    const stream = streams.open.get(streamId);
    if (stream === undefined) {
      if (isIdle(streamId)) throw protocolError(`WINDOW_UPDATE on idle stream ${streamId}`);
    } else if (increment === 0) {
      streams.error(stream, ErrorCode.PROTOCOL_ERROR);
    } else if (!streams.sender.widenStream(stream, increment)) {
      streams.error(stream, ErrorCode.FLOW_CONTROL_ERROR);
    }
  }

  reset(streamId: number, bytes: Buffer, start: number): void {
    const { floods, streams, isIdle } = this.#context;
    if (streamId === 0) throw protocolError("RST_STREAM on stream 0");
    const stream = streams.open.get(streamId);
    if (stream !== undefined) {
      floods.reset(stream.openedAt, stream.answered);
      streams.peerReset(stream, readUint32(bytes, start));
      return;
    }
    if (isIdle(streamId)) throw protocolError(`RST_STREAM on idle stream ${streamId}`);
    streams.resets.ended(streamId);
    floods.overhead();
  }

  /** Checked, then ignored: the scheme is deprecated (RFC 9113 § 5.3.2). */
  priority(streamId: number, bytes: Buffer, start: number, end: number): void {
    const { floods, streams } = this.#context;
    floods.overhead();
    if (streamId === 0) throw protocolError("PRIORITY on stream 0");
    const isSized = end - start === 5;
    // A stream can't depend on itself (RFC 7540 § 5.3.1).
    if (isSized && (readUint32(bytes, start) & STREAM_ID) !== streamId) return;
    const code = isSized ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FRAME_SIZE_ERROR;
    const stream = streams.open.get(streamId);
    if (stream === undefined) throw new Http2ConnectionError(code, `a wrong PRIORITY for stream ${streamId}`);
    streams.error(stream, code);
  }

  #settingsAck(): void {
    const { floods, streams, watchdog } = this.#context;
    if (!this.settingsCame) throw protocolError("the first frame is not SETTINGS");
    if (!streams.receiver.acknowledged()) {
      floods.overhead();
      return;
    }
    watchdog.acknowledged();
    // The budget may have changed its mind meanwhile.
    this.adaptWindows();
  }

  #settings(bytes: Buffer, start: number, end: number): void {
    const { floods, handler, peer, streams, watchdog, writer } = this.#context;
    floods.overhead(SETTINGS_COST);
    const delta = peer.apply(bytes, start, end);
    streams.sender.encoder.setMaxTableSize(peer.headerTableSize);
    writer.maxFrameSize = peer.maxFrameSize;
    // Before any DATA that the new values allow (RFC 9113 § 6.5.3).
    writer.settingsAck();
    if (delta !== 0) {
      for (const stream of streams.open.values()) {
        if (!streams.sender.widenStream(stream, delta)) {
          throw flowControlError("SETTINGS overflow the window of a stream");
        }
      }
    }
    if (this.settingsCame) return;
    this.settingsCame = true;
    watchdog.settingsCame();
    handler.onReady?.();
  }
}
