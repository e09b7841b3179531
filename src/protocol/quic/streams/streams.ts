/**
 * The streams of one connection (RFC 9000 §§ 2 to 4): finds the stream that a frame is about, tells receiver and sender, and puts
 * what waits into packets. All that the peer can break throws TransportError.
 */
import { Budget, createMemoryBudget, type MemoryBudget } from "../../memory-budget/budget.ts";
import { TransportError, TransportErrorCode } from "../errors.ts";
import type { FrameWriter } from "../frame-writer.ts";
import { FrameType, type Role } from "../frames.ts";
import { MAX_STREAM_WINDOW } from "../limits.ts";
import type { TransportParameters } from "../transport-parameters.ts";
import { Control } from "./control.ts";
import { ReceiveSide } from "./receive-side.ts";
import { Receiver, type StreamClock } from "./receiver.ts";
import { SendSide } from "./send-side.ts";
import { Sender } from "./sender.ts";
import type { SentFrames, SentStreamFrame } from "./sent-frames.ts";
import { Stream, type StreamOwner } from "./stream.ts";
import { isBidirectional, isOpenedBy, LocalIds, PeerIds } from "./stream-ids.ts";
import type { QuicStream } from "./types.ts";

export interface StreamsOptions {
  readonly role: Role;
  /** What we announced. */
  readonly local: TransportParameters;
  readonly peer: TransportParameters;
  readonly clock: StreamClock;
  /** Shared by all connections of a tunnel; made by `createMemoryBudget`. */
  readonly budget?: MemoryBudget | undefined;
  /** The largest that a stream's window grows to. */
  readonly maxStreamWindow?: number | undefined;
  /** The peer opened a stream; its sink must be set before this returns. */
  readonly onStream: (stream: QuicStream) => void;
  /** The peer allows more streams after it allowed none. */
  readonly onStreamsAvailable?: (() => void) | undefined;
}

/** Of a stream that is reset as memory is short; the tunnel's protocol knows no other code (wire § 5.2). */
const EVICTED = 0;

export class Streams implements StreamOwner {
  readonly #role: Role;
  readonly #options: StreamsOptions;
  readonly #budget: Budget;
  readonly #control: Control;
  readonly #receiver: Receiver;
  readonly #sender: Sender;
  readonly #open = new Map<number, Stream>();
  readonly #localBidi: LocalIds;
  readonly #localUni: LocalIds;
  readonly #peerBidi: PeerIds;
  readonly #peerUni: PeerIds;
  #openPeerStreams = 0;
  /** `open` failed since the peer last raised its limit. */
  #starved = false;

  constructor(options: StreamsOptions) {
    const { role, local, peer, clock, budget = createMemoryBudget() } = options;
    if (!(budget instanceof Budget)) throw new TypeError("options.budget must come from createMemoryBudget()");
    this.#role = role;
    this.#options = options;
    this.#budget = budget;
    this.#localBidi = new LocalIds(true, role, peer.initialMaxStreamsBidi);
    this.#localUni = new LocalIds(false, role, peer.initialMaxStreamsUni);
    this.#peerBidi = new PeerIds(local.initialMaxStreamsBidi);
    this.#peerUni = new PeerIds(local.initialMaxStreamsUni);
    this.#control = new Control(this);
    const onDone = (stream: Stream): void => this.#closeIfOver(stream);
    this.#receiver = new Receiver({
      budget,
      clock,
      control: this.#control,
      connectionWindow: local.initialMaxData,
      maxStreamWindow: options.maxStreamWindow ?? MAX_STREAM_WINDOW,
      onDone,
    });
    this.#sender = new Sender({ budget, control: this.#control, limit: peer.initialMaxData, onDone });
  }

  get openStreams(): number {
    return this.#open.size;
  }

  /** Those that the peer opened and that are not over on both sides, the acknowledgement of our end included. */
  get openPeerStreams(): number {
    return this.#openPeerStreams;
  }

  /** Opens a stream, or undefined as long as the peer allows no more. */
  open(bidirectional: boolean): QuicStream | undefined {
    const ids = bidirectional ? this.#localBidi : this.#localUni;
    const id = ids.next();
    if (id !== undefined) return this.#create(id);
    this.#starved = true;
    if (ids.block()) {
      this.#control.wantLimit(bidirectional ? FrameType.STREAMS_BLOCKED_BIDI : FrameType.STREAMS_BLOCKED_UNI);
    }
    return undefined;
  }

  // --- From frames ---

  onStream(id: number, offset: number, bytes: Buffer, fin: boolean): void {
    const stream = this.#receivingStream(id);
    if (stream?.receiving !== undefined) this.#receiver.onStream(stream, stream.receiving, offset, bytes, fin);
  }

  onResetStream(id: number, errorCode: number, finalSize: number): void {
    const stream = this.#receivingStream(id);
    if (stream?.receiving !== undefined) this.#receiver.onReset(stream, stream.receiving, errorCode, finalSize);
  }

  onStopSending(id: number, errorCode: number): void {
    const stream = this.#sendingStream(id);
    const side = stream?.sending;
    if (stream === undefined || side === undefined || (side.state !== "open" && side.state !== "ending")) return;
    // RFC 9000 § 3.5: our side is reset with the peer's own code.
    this.#sender.reset(stream, side, errorCode);
    stream.sink.onStopSending(errorCode);
  }

  onMaxData(limit: number): void {
    this.#sender.onMaxData(limit);
  }

  onMaxStreamData(id: number, limit: number): void {
    const stream = this.#sendingStream(id);
    if (stream?.sending !== undefined) this.#sender.onMaxStreamData(stream, stream.sending, limit);
  }

  onMaxStreams(bidirectional: boolean, limit: number): void {
    const raised = (bidirectional ? this.#localBidi : this.#localUni).raise(limit);
    if (!raised || !this.#starved) return;
    this.#starved = false;
    this.#options.onStreamsAvailable?.();
  }

  /** A peer that is blocked says nothing that we don't know: our limits follow arrival and consumption. */
  onDataBlocked(_limit: number): void {}

  onStreamDataBlocked(id: number, _limit: number): void {
    this.#receivingStream(id);
  }

  onStreamsBlocked(_bidirectional: boolean, _limit: number): void {}

  // --- To packets ---

  pending(): boolean {
    return this.#control.pending || this.#sender.pending;
  }

  /** Fills the packet, and adds to `sent` what to remember of it. */
  writeFrames(writer: FrameWriter, sent: SentFrames): void {
    if (this.#control.write(writer, sent)) this.#sender.writeFrames(writer, sent);
  }

  /** After packets were built: lets paused writers go on, which may make more pending. */
  resumeWriters(): void {
    this.#sender.resumeWriters();
  }

  // --- From loss detection ---

  onFramesAcked(sent: SentFrames): void {
    for (let frame: SentStreamFrame | undefined = sent; frame !== undefined; frame = frame.next) {
      const { stream } = frame;
      if (stream?.sending !== undefined) this.#sender.onAcked(stream, stream.sending, frame);
    }
    if (sent.controls === undefined) return;
    for (const { type, stream } of sent.controls) {
      if (type === FrameType.RESET_STREAM && stream?.sending !== undefined) {
        this.#sender.onResetAcked(stream, stream.sending);
      }
    }
  }

  onFramesLost(sent: SentFrames): void {
    for (let frame: SentStreamFrame | undefined = sent; frame !== undefined; frame = frame.next) {
      const { stream } = frame;
      if (stream?.sending !== undefined) this.#sender.onLost(stream, stream.sending, frame);
    }
    if (sent.controls === undefined) return;
    for (const frame of sent.controls) this.#control.onLost(frame);
  }

  /** The connection is gone. */
  close(): void {
    let failure: { error: unknown } | undefined;
    for (const stream of this.#open.values()) {
      if (stream.receiving !== undefined) stream.receiving.state = "done";
      if (stream.sending !== undefined) this.#sender.abandon(stream, stream.sending);
      this.#budget.release(stream);
    }
    const streams = [...this.#open.values()];
    this.#open.clear();
    this.#openPeerStreams = 0;
    for (const stream of streams) {
      try {
        stream.sink.onClosed?.();
      } catch (error) {
        // The others must hear of it all the same.
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  // --- ConnectionLimits ---

  valueOf(type: number): number | undefined {
    switch (type) {
      case FrameType.MAX_DATA:
        return this.#receiver.limit;
      case FrameType.MAX_STREAMS_BIDI:
        return this.#peerBidi.limit;
      case FrameType.MAX_STREAMS_UNI:
        return this.#peerUni.limit;
      case FrameType.DATA_BLOCKED:
        return this.#sender.blockedAt;
      default:
        return (type === FrameType.STREAMS_BLOCKED_BIDI ? this.#localBidi : this.#localUni).blockedAt;
    }
  }

  // --- StreamOwner ---

  write(stream: Stream, chunk: Buffer, fin: boolean): boolean {
    return stream.sending === undefined || this.#sender.write(stream, stream.sending, chunk, fin);
  }

  consumed(stream: Stream, bytes: number): void {
    if (stream.receiving !== undefined) this.#receiver.consumed(stream, stream.receiving, bytes);
  }

  widen(stream: Stream, window: number): void {
    if (stream.receiving !== undefined) this.#receiver.widen(stream, stream.receiving, window);
  }

  reset(stream: Stream, errorCode: number): void {
    if (stream.sending !== undefined) this.#sender.reset(stream, stream.sending, errorCode);
  }

  stopSending(stream: Stream, errorCode: number): void {
    if (stream.receiving !== undefined) this.#receiver.stop(stream, stream.receiving, errorCode);
  }

  evicted(stream: Stream): void {
    // Of one that is over, nobody is left who could be told.
    if (!this.#open.has(stream.id)) return;
    this.reset(stream, EVICTED);
    this.stopSending(stream, EVICTED);
    stream.sink.onEvicted();
  }

  // --- Look-up ---

  /** The stream of a frame that its sender sends about what it sends itself; undefined = over and forgotten. */
  #receivingStream(id: number): Stream | undefined {
    const ours = isOpenedBy(id, this.#role);
    if (ours && !isBidirectional(id)) throw stateError("a frame of a sender on a stream that only we send on");
    return this.#find(id, ours);
  }

  /** The stream of a frame about what we send. */
  #sendingStream(id: number): Stream | undefined {
    const ours = isOpenedBy(id, this.#role);
    if (!ours && !isBidirectional(id)) throw stateError("a frame of a receiver on a stream that only it sends on");
    return this.#find(id, ours);
  }

  #find(id: number, ours: boolean): Stream | undefined {
    const known = this.#open.get(id);
    if (known !== undefined) return known;
    const bidirectional = isBidirectional(id);
    if (ours) {
      if (!(bidirectional ? this.#localBidi : this.#localUni).hasOpened(id)) {
        throw stateError("a frame on a stream that we have not opened");
      }
      return undefined;
    }
    if (!(bidirectional ? this.#peerBidi : this.#peerUni).opens(id)) return undefined;
    const stream = this.#create(id);
    this.#openPeerStreams++;
    this.#options.onStream(stream);
    return stream;
  }

  #create(id: number): Stream {
    const { local, peer, clock } = this.#options;
    const ours = isOpenedBy(id, this.#role);
    const bidirectional = isBidirectional(id);
    let receiving: ReceiveSide | undefined;
    let sending: SendSide | undefined;
    if (bidirectional || !ours) {
      const window = bidirectional
        ? ours
          ? local.initialMaxStreamDataBidiLocal
          : local.initialMaxStreamDataBidiRemote
        : local.initialMaxStreamDataUni;
      receiving = new ReceiveSide(window, clock.now);
    }
    if (bidirectional || ours) {
      const limit = bidirectional
        ? ours
          ? peer.initialMaxStreamDataBidiRemote
          : peer.initialMaxStreamDataBidiLocal
        : peer.initialMaxStreamDataUni;
      sending = new SendSide(limit);
    }
    const stream = new Stream(this, id, receiving, sending);
    this.#open.set(id, stream);
    return stream;
  }

  #closeIfOver(stream: Stream): void {
    if (!stream.closed || !this.#open.delete(stream.id)) return;
    if (isOpenedBy(stream.id, this.#role)) return;
    this.#openPeerStreams--;
    const bidirectional = isBidirectional(stream.id);
    if ((bidirectional ? this.#peerBidi : this.#peerUni).close()) {
      this.#control.wantLimit(bidirectional ? FrameType.MAX_STREAMS_BIDI : FrameType.MAX_STREAMS_UNI);
    }
  }
}

function stateError(reason: string): TransportError {
  return new TransportError(TransportErrorCode.STREAM_STATE_ERROR, reason);
}
