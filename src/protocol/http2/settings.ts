/**
 * The settings of both sides (RFC 9113 § 6.5). A SETTINGS frame is a list of
 *
 *   +-------------------------------+
 *   |         Identifier (16)       |
 *   +-------------------------------+-------------------------------+
 *   |                           Value (32)                          |
 *   +---------------------------------------------------------------+
 */
import { floodError, flowControlError, protocolError } from "./errors.ts";
import { INITIAL_WINDOW, MAX_MAX_FRAME_SIZE, MAX_WINDOW, MIN_MAX_FRAME_SIZE, readUint32, Setting } from "./frames.ts";
import * as limits from "./limits.ts";

export type SettingEntry = readonly [id: number, value: number];

/** What a server announces (wire § 4.1). */
export function serverSettings(maxConcurrentStreams: number, initialWindow: number): SettingEntry[] {
  return [
    [Setting.MAX_FRAME_SIZE, limits.MAX_FRAME_SIZE],
    [Setting.MAX_CONCURRENT_STREAMS, maxConcurrentStreams],
    [Setting.MAX_HEADER_LIST_SIZE, limits.MAX_HEADER_LIST_SIZE],
    [Setting.HEADER_TABLE_SIZE, limits.HEADER_TABLE_SIZE],
    [Setting.INITIAL_WINDOW_SIZE, initialWindow],
    [Setting.NO_RFC7540_PRIORITIES, 1],
  ];
}

/** What a client announces. */
export function clientSettings(initialWindow: number): SettingEntry[] {
  return [
    [Setting.ENABLE_PUSH, 0],
    [Setting.MAX_FRAME_SIZE, limits.MAX_FRAME_SIZE],
    [Setting.MAX_HEADER_LIST_SIZE, limits.MAX_HEADER_LIST_SIZE],
    [Setting.HEADER_TABLE_SIZE, limits.HEADER_TABLE_SIZE],
    [Setting.INITIAL_WINDOW_SIZE, initialWindow],
  ];
}

/** What the peer has announced; its values hold for what we send. */
export class PeerSettings {
  maxConcurrentStreams = Number.POSITIVE_INFINITY;
  initialWindowSize = INITIAL_WINDOW;
  maxFrameSize = MIN_MAX_FRAME_SIZE;
  headerTableSize = 4096;
  readonly #peerIsClient: boolean;

  constructor(peerIsClient: boolean) {
    this.#peerIsClient = peerIsClient;
  }

  /** Takes a payload in; returns by how much the send window of every stream moves. */
  apply(bytes: Buffer, start: number, end: number): number {
    if (end - start > 6 * limits.MAX_SETTINGS_ENTRIES) throw floodError("a SETTINGS frame with too many entries");
    const before = this.initialWindowSize;
    for (let at = start; at < end; at += 6) {
      this.#set(((bytes[at] as number) << 8) | (bytes[at + 1] as number), readUint32(bytes, at + 2));
    }
    return this.initialWindowSize - before;
  }

  #set(id: number, value: number): void {
    switch (id) {
      case Setting.HEADER_TABLE_SIZE:
        this.headerTableSize = value;
        break;
      case Setting.ENABLE_PUSH:
        if (value > (this.#peerIsClient ? 1 : 0)) throw protocolError(`ENABLE_PUSH may not be ${value}`);
        break;
      case Setting.MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        break;
      case Setting.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) throw flowControlError(`INITIAL_WINDOW_SIZE may not be ${value}`);
        this.initialWindowSize = value;
        break;
      case Setting.MAX_FRAME_SIZE:
        if (value < MIN_MAX_FRAME_SIZE || value > MAX_MAX_FRAME_SIZE) {
          throw protocolError(`MAX_FRAME_SIZE may not be ${value}`);
        }
        this.maxFrameSize = value;
        break;
      case Setting.ENABLE_CONNECT_PROTOCOL:
      case Setting.NO_RFC7540_PRIORITIES:
        // RFC 8441 § 3, RFC 9218 § 2.1.
        if (value > 1) throw protocolError(`setting ${id} may not be ${value}`);
        break;
      default:
    }
  }
}
