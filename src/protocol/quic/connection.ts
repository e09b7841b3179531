/**
 * A QUIC connection of either role (RFC 9000), sans I/O: takes datagrams and time, gives datagrams and one deadline. The caller
 * calls `send` after `receive`, `onTimeout` and whatever it wrote, once for each turn of its loop.
 *
 *   open ──close, violation──▶ closing (says so, again when asked) ──3 PTO──▶ closed
 *     │ ──peer closed, stateless reset──▶ draining (silent)        ──3 PTO──▶ closed
 *     └ ──idle, no version in common──▶ closed
 */
import type { TlsSession } from "../tls13/session.ts";
import { Closing } from "./connection/closing.ts";
import { Core, type CoreSetup } from "./connection/core.ts";
import { FrameDispatch } from "./connection/frame-dispatch.ts";
import { Handshake } from "./connection/handshake.ts";
import type { ConnectionStats } from "./connection/options.ts";
import { Receiver } from "./connection/receiver.ts";
import { Sender } from "./connection/sender.ts";
import { QuicConnectionError, TransportError, TransportErrorCode } from "./errors.ts";
import { KEY_UPDATE_INTERVAL } from "./limits.ts";
import { Space, SPACES } from "./packet-number.ts";
import type { QuicStream } from "./streams/types.ts";

const NOTHING: readonly Buffer[] = [];

export type ConnectionState = "handshaking" | "connected" | "closing" | "draining" | "closed";

type Life =
  | { readonly kind: "open" }
  | { readonly kind: "closing"; readonly closing: Closing; readonly until: number }
  | { readonly kind: "draining"; readonly until: number }
  | { readonly kind: "closed" };

export class QuicConnection {
  readonly #core: Core;
  readonly #receiver: Receiver;
  readonly #sender: Sender;
  #life: Life = { kind: "open" };
  #moreToSend = false;

  /** Made by `connectQuic` and by the endpoint. */
  constructor(setup: CoreSetup, session: TlsSession, now: number) {
    const core = new Core(setup, now);
    const handshake = new Handshake(core, session);
    this.#core = core;
    this.#receiver = new Receiver(core, new FrameDispatch(core, handshake));
    this.#sender = new Sender(core);
    this.#guard(() => handshake.start());
  }

  get state(): ConnectionState {
    if (this.#life.kind !== "open") return this.#life.kind;
    return this.#core.handshakeComplete ? "connected" : "handshaking";
  }

  get stats(): ConnectionStats {
    const core = this.#core;
    const { recovery } = core;
    return {
      rtt: recovery.rtt.smoothed,
      minRtt: recovery.rtt.min,
      latestRtt: recovery.rtt.latest,
      congestionState: recovery.congestionState,
      congestionWindow: recovery.congestionWindow,
      bytesInFlight: recovery.bytesInFlight,
      mtu: core.pathMtu.current,
      packetsSent: core.packetsSent,
      packetsReceived: core.packetsReceived,
      packetsLost: recovery.packetsLost,
      packetsDropped: core.drops.packets,
      bytesDropped: core.drops.bytes,
      packetsBuffered: core.packetsBuffered,
      framesSent: this.#sender.framesSent,
      framesReceived: core.framesReceived,
      maxUdpPayload: core.peer.maxUdpPayloadSize,
      bytesSent: core.bytesSent,
      bytesReceived: core.bytesReceived,
      datagramsDropped: core.datagrams.dropped,
      keyUpdates: core.keys.phases?.generation ?? 0,
    };
  }

  /** Milliseconds after which a packet without an acknowledgement is worth another one (RFC 9002 § 6.2.1). */
  get probeTimeout(): number {
    return this.#core.pto();
  }

  /** The largest datagram that `sendDatagram` takes now; 0 = the peer takes none. */
  get maxDatagramSize(): number {
    return this.#core.maxDatagramSize;
  }

  /** Takes the payload of one UDP datagram of `from`, and changes it. Never throws: what breaks a rule closes the connection. */
  receive(datagram: Buffer, now: number, from = this.#core.path.address): void {
    const core = this.#core;
    core.now = now;
    core.bytesReceived += datagram.length;
    const life = this.#life;
    if (life.kind === "closing") {
      life.closing.onReceived();
      return;
    }
    if (life.kind !== "open" || datagram.length === 0) return;
    core.paths.onDatagram(from, datagram.length);
    this.#guard(() => this.#receiver.receive(datagram));
    if (core.peerClosed !== undefined) this.#drain(core.peerClosed);
  }

  /** The datagrams that are to go out now, back to back, to `sendAddress`. */
  send(now: number): readonly Buffer[] {
    const core = this.#core;
    core.now = now;
    const life = this.#life;
    if (life.kind === "closing") return life.closing.take();
    if (life.kind !== "open") return NOTHING;
    let datagrams: readonly Buffer[] = NOTHING;
    this.#guard(() => {
      this.#updateKeys();
      datagrams = this.#sender.burst();
    });
    this.#moreToSend = this.#sender.more;
    return datagrams;
  }

  /** Nobody needs what `send` returned last any more: its memory may be written again. It need not be called. */
  recycle(): void {
    this.#sender.recycle();
  }

  /** When `onTimeout`, or `send` where that is in the past, wants to be called; undefined = never. */
  deadline(): number | undefined {
    const life = this.#life;
    const core = this.#core;
    if (life.kind === "closed") return undefined;
    if (life.kind !== "open") return life.kind === "closing" && life.closing.pending ? core.now : life.until;
    if (this.#moreToSend) return core.now;
    const pto = core.pto();
    let earliest = core.liveness.deadline(pto) ?? Number.POSITIVE_INFINITY;
    const consider = (at: number | undefined): void => {
      if (at !== undefined && at < earliest) earliest = at;
    };
    consider(core.liveness.keepAliveDeadline(pto));
    // Where nothing may be sent, nothing can be sent again either (RFC 9002 § 6.2.2.1).
    if (this.#sender.maySend) {
      consider(core.recovery.deadline());
      for (const space of SPACES) {
        if (core.keys.canSend(space)) consider(core.received[space].ackDeadline());
      }
      consider(core.path.challengeDeadline());
    }
    consider(this.#sender.pathDeadline());
    if (this.#sender.blockedByPacer) consider(core.recovery.pacingDeadline());
    return earliest === Number.POSITIVE_INFINITY ? undefined : earliest;
  }

  onTimeout(now: number): void {
    const core = this.#core;
    core.now = now;
    const life = this.#life;
    if (life.kind === "closed") return;
    if (life.kind !== "open") {
      if (now >= life.until) this.#life = { kind: "closed" };
      return;
    }
    const idle = core.liveness.deadline(core.pto());
    if (idle !== undefined && now >= idle) {
      this.#end({ kind: "closed" }, this.#timeoutError());
      return;
    }
    this.#guard(() => {
      const keepAlive = core.liveness.keepAliveDeadline(core.pto());
      if (keepAlive !== undefined && now >= keepAlive) {
        core.liveness.onKeepAlive(now);
        core.pingPending = true;
      }
      core.paths.onTimeout();
      const at = core.recovery.deadline();
      if (at !== undefined && now >= at && this.#sender.maySend) core.delivery.onTimeout();
    });
  }

  /** Undefined while the peer allows no more, or the handshake is not complete; `onStreamsAvailable` follows. */
  openStream(bidirectional: boolean): QuicStream | undefined {
    return this.#life.kind === "open" ? this.#core.streams?.open(bidirectional) : undefined;
  }

  /** False when it is too large, or the peer takes none. It may be lost, or dropped when too many wait; never sent twice. */
  sendDatagram(bytes: Buffer): boolean {
    const core = this.#core;
    if (this.#life.kind !== "open" || !core.handshakeComplete || bytes.length > core.maxDatagramSize) return false;
    core.datagrams.push(bytes);
    return true;
  }

  /** Asks the peer for a sign of life: its acknowledgement. */
  ping(): void {
    if (this.#life.kind === "open" && this.#core.handshakeComplete) this.#core.pingPending = true;
  }

  /** Closes as an application. Streams end at once, without their last bytes. */
  close(errorCode: number, reason: string, now: number): void {
    if (this.#life.kind !== "open") return;
    this.#core.now = now;
    const error = new QuicConnectionError("closed", "the connection was closed by this side", { errorCode, reason });
    this.#startClosing(errorCode, undefined, reason, error);
  }

  /** Asks for new keys with the next packet; false where the last update is not done with (RFC 9001 § 6.1). */
  keyUpdate(): boolean {
    const core = this.#core;
    return core.handshakeConfirmed && core.keys.phases?.update() === true;
  }

  /** Where the peer is that is to get what `send` returned last. */
  get sendAddress(): string {
    return this.#life.kind === "open" ? this.#sender.address : this.#core.path.address;
  }

  /**
   * The system says that a datagram was too large for the path (EMSGSIZE).
   * @param limit bytes of the largest that may be tried from now on
   */
  onTooBig(limit: number): void {
    if (this.#life.kind === "open") this.#core.delivery.onTooBig(limit);
  }

  /** Larger datagrams are tried on the path: what the system says of any is of interest. */
  get searchesMtu(): boolean {
    return this.#core.pathMtu.searching;
  }

  /** Streams that the peer opened and that are not over on both sides. */
  get openPeerStreams(): number {
    return this.#core.streams?.openPeerStreams ?? 0;
  }

  /** The peer has shown that it receives at its address. */
  get addressValidated(): boolean {
    return this.#core.path.validated;
  }

  /** The largest packet number of the peer's 1-RTT packets; -1 at first. */
  get largestReceived(): number {
    return this.#core.received[Space.application].largest;
  }

  // --- Inside ---

  #updateKeys(): void {
    const core = this.#core;
    const { phases } = core.keys;
    if (phases === undefined || !core.handshakeConfirmed) return;
    phases.expire(core.now, 3 * core.pto());
    if (phases.sealed >= (core.options.keyUpdateInterval ?? KEY_UPDATE_INTERVAL)) phases.update();
  }

  #timeoutError(): QuicConnectionError {
    return this.#core.handshakeComplete
      ? new QuicConnectionError("idle-timeout", "nothing came from the peer within the idle timeout")
      : new QuicConnectionError("handshake-timeout", "the handshake did not complete in time");
  }

  /** Runs a step; a violation closes the connection. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#life.kind !== "open") return;
    if (error instanceof QuicConnectionError) {
      if (error.end === "stateless-reset") this.#drain(error);
      else this.#end({ kind: "closed" }, error);
      return;
    }
    const violation =
      error instanceof TransportError
        ? error
        : new TransportError(TransportErrorCode.INTERNAL_ERROR, "a handler failed", { cause: error });
    const { transportCode, frameType, reason, message } = violation;
    const ended = new QuicConnectionError("violation", message, { cause: violation, errorCode: transportCode, reason });
    this.#startClosing(transportCode, frameType ?? 0, reason, ended);
  }

  #startClosing(errorCode: number, frameType: number | undefined, reason: string, error: QuicConnectionError): void {
    const core = this.#core;
    core.ended = true;
    let datagram: Buffer | undefined;
    try {
      datagram = this.#sender.close(errorCode, frameType, reason);
    } catch {
      // The keys are used up, or gone: then it goes without a word.
    }
    this.#end({ kind: "closing", closing: new Closing(datagram), until: core.now + 3 * core.pto() }, error);
  }

  #drain(error: QuicConnectionError): void {
    this.#end({ kind: "draining", until: this.#core.now + 3 * this.#core.pto() }, error);
  }

  #end(life: Life, error: QuicConnectionError): void {
    if (this.#life.kind !== "open") return;
    const core = this.#core;
    this.#life = life;
    core.ended = true;
    // A handler that fails can't keep the others from hearing of it.
    try {
      core.streams?.close();
    } finally {
      core.handler.onClosed(error);
    }
  }
}
