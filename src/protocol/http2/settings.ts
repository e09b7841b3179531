/** The settings of both sides (RFC 9113 § 6.5). */
import { Http2ConnectionError } from "./errors.ts";
import { FrameType, Setting } from "./frames.ts";
import * as limits from "./limits.ts";
import type { Output } from "./output.ts";
import { ErrorCode, type Http2Options } from "./types.ts";

const UNLIMITED = 0xffff_ffff;

/** What the peer has announced; its values hold for what we send. */
export class PeerSettings {
  maxConcurrentStreams = UNLIMITED;
  initialWindowSize = 65_535;
  maxFrameSize = 16_384;
  headerTableSize = 4096;
  /** It sent GOAWAY. */
  leaving = false;
  /** Our role: a client may announce ENABLE_PUSH 1, a server may not. */
  readonly #isServer: boolean;

  constructor(isServer: boolean) {
    this.#isServer = isServer;
  }

  /** Takes a SETTINGS payload in; returns by how much every stream's send window moves. */
  apply(payload: Buffer): number {
    if (payload.length % 6 !== 0) {
      throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `SETTINGS with ${payload.length} bytes`);
    }
    const before = this.initialWindowSize;
    for (let at = 0; at < payload.length; at += 6) this.#set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
    return this.initialWindowSize - before;
  }

  #set(id: number, value: number): void {
    const refuse = (code: number): never => {
      throw new Http2ConnectionError(code, `setting 0x${id.toString(16)} may not be ${value}`);
    };
    switch (id) {
      case Setting.HEADER_TABLE_SIZE:
        this.headerTableSize = value;
        break;
      case Setting.ENABLE_PUSH:
        if (value > (this.#isServer ? 1 : 0)) refuse(ErrorCode.PROTOCOL_ERROR);
        break;
      case Setting.MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        break;
      case Setting.INITIAL_WINDOW_SIZE:
        if (value > limits.MAX_WINDOW) refuse(ErrorCode.FLOW_CONTROL_ERROR);
        this.initialWindowSize = value;
        break;
      case Setting.MAX_FRAME_SIZE:
        if (value < 16_384 || value > 16_777_215) refuse(ErrorCode.PROTOCOL_ERROR);
        this.maxFrameSize = value;
        break;
      case Setting.NO_RFC7540_PRIORITIES:
        // RFC 9218 § 2.1.
        if (value > 1) refuse(ErrorCode.PROTOCOL_ERROR);
        break;
      default:
    }
  }
}

/** What we have announced. Its values hold for what we receive, from the peer's acknowledgement on. */
export class LocalSettings {
  readonly maxConcurrentStreams: number;
  /** The initial window of new streams, as far as the peer has acknowledged it. */
  streamWindow: number;
  /** When the oldest SETTINGS without an answer went out. */
  unacknowledgedSince: number | undefined;
  readonly #output: Output;
  readonly #normalWindow: number;
  /** Initial windows announced in SETTINGS that are not acknowledged yet, oldest first. */
  readonly #announced: { window: number }[] = [];

  constructor(output: Output, options: Http2Options, isServer: boolean, now: number) {
    this.#output = output;
    this.maxConcurrentStreams = options.maxConcurrentStreams ?? UNLIMITED;
    this.#normalWindow = options.initialWindowSize ?? limits.STREAM_WINDOW;
    // Our first SETTINGS goes out before the peer can open a stream or answer one, so its window holds from the beginning.
    this.streamWindow = this.#normalWindow;
    const settings: [number, number][] = [
      [Setting.MAX_FRAME_SIZE, limits.MAX_FRAME_SIZE],
      [Setting.MAX_HEADER_LIST_SIZE, limits.MAX_HEADER_LIST_SIZE],
      [Setting.HEADER_TABLE_SIZE, limits.HEADER_TABLE_SIZE],
      [Setting.INITIAL_WINDOW_SIZE, this.#normalWindow],
    ];
    if (isServer) {
      settings.push([Setting.MAX_CONCURRENT_STREAMS, this.maxConcurrentStreams], [Setting.NO_RFC7540_PRIORITIES, 1]);
    } else {
      settings.push([Setting.ENABLE_PUSH, 0]);
    }
    this.#send(settings, this.#normalWindow, now);
  }

  /** How much larger a window the peer may already use than it has acknowledged. */
  get windowInFlight(): number {
    let largest = this.streamWindow;
    for (const { window } of this.#announced) largest = Math.max(largest, window);
    return largest - this.streamWindow;
  }

  /** Changes the initial window of streams when memory is short, and back. */
  announceStreamWindow(pressed: boolean, now: number): void {
    const window = pressed ? Math.min(limits.PRESSED_STREAM_WINDOW, this.#normalWindow) : this.#normalWindow;
    this.#send([[Setting.INITIAL_WINDOW_SIZE, window]], window, now);
  }

  /** The peer has taken over the oldest SETTINGS; returns by how much its streams' windows have moved. */
  acknowledged(now: number): number {
    const oldest = this.#announced.shift();
    if (oldest === undefined) {
      throw new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "an acknowledgement of SETTINGS that were not sent");
    }
    this.unacknowledgedSince = this.#announced.length === 0 ? undefined : now;
    const delta = oldest.window - this.streamWindow;
    this.streamWindow = oldest.window;
    return delta;
  }

  #send(settings: readonly (readonly [number, number])[], window: number, now: number): void {
    this.#output.frameHeader(settings.length * 6, FrameType.SETTINGS, 0, 0);
    for (const [id, value] of settings) {
      const at = this.#output.reserve(6);
      this.#output.reserved.writeUInt16BE(id, at);
      this.#output.reserved.writeUInt32BE(value, at + 2);
    }
    this.#announced.push({ window });
    this.unacknowledgedSince ??= now;
  }
}
