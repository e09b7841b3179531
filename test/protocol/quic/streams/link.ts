/** Two ends of streams in one process: real frames in packets of 1,200 bytes over a link that loses, delays and repeats as told. */
import { FrameWriter } from "../../../../src/protocol/quic/frame-writer.ts";
import { type FrameHandler, readFrames } from "../../../../src/protocol/quic/frame-reader.ts";
import type { Role } from "../../../../src/protocol/quic/frames.ts";
import { Space } from "../../../../src/protocol/quic/packet-number.ts";
import { SentFrames } from "../../../../src/protocol/quic/streams/sent-frames.ts";
import { Streams } from "../../../../src/protocol/quic/streams/streams.ts";
import type { QuicStream, QuicStreamSink } from "../../../../src/protocol/quic/streams/types.ts";
import {
  DEFAULT_TRANSPORT_PARAMETERS,
  type TransportParameters,
} from "../../../../src/protocol/quic/transport-parameters.ts";
import { createMemoryBudget, type MemoryBudget } from "../../../../src/protocol/memory-budget/budget.ts";

const PACKET = 1200;

export const KIB = 1024;

export function parameters(changes: Partial<TransportParameters> = {}): TransportParameters {
  return {
    ...DEFAULT_TRANSPORT_PARAMETERS,
    initialMaxData: 1024 * KIB,
    initialMaxStreamDataBidiLocal: 64 * KIB,
    initialMaxStreamDataBidiRemote: 64 * KIB,
    initialMaxStreamDataUni: 64 * KIB,
    initialMaxStreamsBidi: 100,
    initialMaxStreamsUni: 100,
    ...changes,
  };
}

/** What happened to a stream; takes all at once, unless paused. */
export class Watcher implements QuicStreamSink {
  readonly stream: QuicStream;
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  bytes = 0;
  paused = false;

  constructor(stream: QuicStream) {
    this.stream = stream;
    stream.sink = this;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }

  onData(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
    this.bytes += chunk.length;
    if (!this.paused) this.stream.consumed(chunk.length);
  }
  onEnd(): void {
    this.events.push("end");
  }
  onReset(errorCode: number): void {
    this.events.push(`reset ${errorCode}`);
  }
  onStopSending(errorCode: number): void {
    this.events.push(`stop ${errorCode}`);
  }
  onWritable(): void {
    this.events.push("writable");
  }
  onEvicted(): void {
    this.events.push("evicted");
  }
  onClosed(): void {
    this.events.push("closed");
  }
}

export interface EndOptions {
  readonly role?: Role;
  readonly local?: Partial<TransportParameters>;
  readonly peer?: Partial<TransportParameters>;
  readonly budget?: MemoryBudget;
  readonly maxStreamWindow?: number;
}

export interface Packet {
  readonly bytes: Buffer;
  readonly sent: SentFrames;
}

/** One side: its streams, those that the peer opened, and packets in both directions. */
export class End {
  readonly streams: Streams;
  readonly clock = { now: 0, roundTrip: 10 };
  readonly accepted: Watcher[] = [];
  readonly budget: MemoryBudget;
  readonly role: Role;
  available = 0;
  pauseNew = false;
  readonly #writer = new FrameWriter(Buffer.alloc(PACKET));

  constructor(options: EndOptions = {}) {
    this.role = options.role ?? "client";
    this.budget = options.budget ?? createMemoryBudget();
    this.streams = new Streams({
      role: this.role,
      local: parameters(options.local),
      peer: parameters(options.peer),
      clock: this.clock,
      budget: this.budget,
      maxStreamWindow: options.maxStreamWindow,
      onStream: (stream) => {
        const watcher = new Watcher(stream);
        watcher.paused = this.pauseNew;
        this.accepted.push(watcher);
      },
      onStreamsAvailable: () => this.available++,
    });
  }

  open(bidirectional = true): Watcher {
    const stream = this.streams.open(bidirectional);
    if (stream === undefined) throw new Error("no credit for a stream");
    return new Watcher(stream);
  }

  /** The next packet, or undefined when nothing is to be sent. */
  packet(size = PACKET): Packet | undefined {
    if (!this.streams.pending()) return undefined;
    const sent = new SentFrames();
    this.#writer.begin(0, size);
    this.streams.writeFrames(this.#writer, sent);
    const bytes = Buffer.from(this.#writer.buffer.subarray(0, this.#writer.at));
    this.streams.resumeWriters();
    return bytes.length === 0 ? undefined : { bytes, sent };
  }

  packets(limit = 10_000): Packet[] {
    const packets: Packet[] = [];
    for (let packet = this.packet(); packet !== undefined; packet = this.packet()) {
      packets.push(packet);
      if (packets.length >= limit) throw new Error("an endless stream of packets");
    }
    return packets;
  }

  receive(bytes: Buffer): void {
    readFrames(bytes, Space.application, this.role, this.#handler(), new Float64Array(64));
  }

  #handler(): FrameHandler {
    const { streams } = this;
    const unexpected = (): never => {
      throw new Error("a frame that streams don't send");
    };
    return {
      onPing: unexpected,
      onAck: unexpected,
      onCrypto: unexpected,
      onNewConnectionId: unexpected,
      onRetireConnectionId: unexpected,
      onPathChallenge: unexpected,
      onPathResponse: unexpected,
      onConnectionClose: unexpected,
      onHandshakeDone: unexpected,
      onNewToken: unexpected,
      onDatagram: unexpected,
      onStream: (id, offset, bytes, fin) => streams.onStream(id, offset, bytes, fin),
      onResetStream: (id, code, size) => streams.onResetStream(id, code, size),
      onStopSending: (id, code) => streams.onStopSending(id, code),
      onMaxData: (limit) => streams.onMaxData(limit),
      onMaxStreamData: (id, limit) => streams.onMaxStreamData(id, limit),
      onMaxStreams: (bidirectional, limit) => streams.onMaxStreams(bidirectional, limit),
      onDataBlocked: (limit) => streams.onDataBlocked(limit),
      onStreamDataBlocked: (id, limit) => streams.onStreamDataBlocked(id, limit),
      onStreamsBlocked: (bidirectional, limit) => streams.onStreamsBlocked(bidirectional, limit),
    };
  }
}

export function pair(options: { client?: EndOptions; server?: EndOptions } = {}): { client: End; server: End } {
  const client = new End({ peer: { ...options.server?.local }, ...options.client, role: "client" });
  const server = new End({ peer: { ...options.client?.local }, ...options.server, role: "server" });
  return { client, server };
}

/** Moves all there is, nothing lost, until both are silent. */
export function settle(a: End, b: End): void {
  for (let turn = 0; turn < 10_000; turn++) {
    let moved = false;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const packet = from.packet();
      if (packet === undefined) continue;
      moved = true;
      to.receive(packet.bytes);
      from.streams.onFramesAcked(packet.sent);
    }
    if (!moved) return;
  }
  throw new Error("never silent");
}

/** A small generator of pseudo-random numbers in [0, 1): mulberry32. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Moves all there is over a link that loses and reorders packets of both directions and their acknowledgements. */
export function settleLossy(a: End, b: End, next: () => number, loss: number, onStep?: () => void): void {
  interface Flight {
    readonly packet: Packet;
    readonly from: End;
    readonly to: End;
  }
  let flying: Flight[] = [];
  for (let turn = 0; turn < 200_000; turn++) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const packet = flying.length < 64 ? from.packet(200 + Math.floor(next() * 1000)) : undefined;
      if (packet !== undefined) flying.push({ packet, from, to });
    }
    onStep?.();
    if (flying.length === 0) {
      if (!a.streams.pending() && !b.streams.pending()) return;
      continue;
    }
    if (flying.length < 32 && next() < 0.5) continue;
    const index = Math.floor(next() * flying.length);
    const [flight] = flying.splice(index, 1) as [Flight];
    const { packet, from, to } = flight;
    if (next() < loss) {
      from.streams.onFramesLost(packet.sent);
      continue;
    }
    to.receive(packet.bytes);
    if (next() < 0.05) to.receive(packet.bytes);
    // The acknowledgement is late, or never comes: then the same goes out once more.
    if (next() < loss) from.streams.onFramesLost(packet.sent);
    else from.streams.onFramesAcked(packet.sent);
  }
  throw new Error("never silent");
}
