/** HTTP/2 by hand on a connection that a connector has dialled: frames are built and read here, by no codec of the project. */
import type { Duplex } from "node:stream";
import type { MockEdge } from "../../../src/mock-edge/index.ts";
import { within } from "./row.ts";

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const NAMES = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
];

export interface Frame {
  readonly type: string;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** RFC 9113 § 4.1: length 24, type 8, flags 8, stream id 31. */
export function frame(type: string, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = NAMES.indexOf(type);
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** A literal field without indexing and without Huffman (RFC 7541 § 6.2.2); texts shorter than 127 bytes. */
export function literal(name: string, value: string): Buffer {
  return Buffer.concat([
    Uint8Array.of(0, name.length),
    Buffer.from(name, "latin1"),
    Uint8Array.of(value.length),
    Buffer.from(value, "latin1"),
  ]);
}

/** GET https / from the static table, and an authority. */
export function getHead(...fields: readonly Buffer[]): Buffer {
  return Buffer.concat([Uint8Array.of(0x82, 0x87, 0x84), literal(":authority", "app.example.com"), ...fields]);
}

export class RawPeer {
  readonly frames: Frame[] = [];
  readonly closed: Promise<void>;
  readonly #socket: Duplex;
  #buffered = Buffer.alloc(0);
  #wake: (() => void)[] = [];

  constructor(socket: Duplex) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      socket.on("close", () => resolve());
      // A connector that ends its side waits for us to end ours.
      socket.on("end", () => socket.end());
    });
    socket.on("data", (chunk: Buffer) => {
      this.#buffered = Buffer.concat([this.#buffered, chunk]);
      this.#split();
      for (const wake of this.#wake.splice(0)) wake();
    });
  }

  send(...bytes: readonly Uint8Array[]): void {
    this.#socket.write(Buffer.concat(bytes));
  }

  /** Preface, SETTINGS, and the acknowledgement of the connector's. */
  greet(): void {
    this.send(PREFACE, frame("SETTINGS", 0, 0), frame("SETTINGS", 1, 0));
  }

  /** The first frame, past or to come, for which `wanted` holds. */
  async find(what: string, wanted: (frame: Frame) => boolean): Promise<Frame> {
    const search = async (): Promise<Frame> => {
      for (;;) {
        const found = this.frames.find(wanted);
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    };
    return await within(10_000, what, search());
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #split(): void {
    while (this.#buffered.length >= 9) {
      const length = 9 + this.#buffered.readUIntBE(0, 3);
      if (this.#buffered.length < length) return;
      this.frames.push({
        type: NAMES[this.#buffered[3] ?? 0] ?? "other",
        flags: this.#buffered[4] ?? 0,
        streamId: this.#buffered.readUInt32BE(5) & 0x7fff_ffff,
        payload: this.#buffered.subarray(9, length),
      });
      this.#buffered = this.#buffered.subarray(length);
    }
  }
}

/** The next connection, by hand. */
export function rawPeer(edge: MockEdge): Promise<RawPeer> {
  return new Promise((resolve) => {
    edge.fail({ kind: "raw", serve: (socket) => resolve(new RawPeer(socket)) });
  });
}
