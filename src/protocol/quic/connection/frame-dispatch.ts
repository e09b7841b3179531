/** Hands each frame of a packet to what it concerns. */
import { protocolViolation, TransportError, TransportErrorCode } from "../errors.ts";
import type { FrameHandler } from "../frame-reader.ts";
import type { AckFrame } from "../frames.ts";
import { type PacketNumberSpace, Space } from "../packet-number.ts";
import type { Streams } from "../streams/streams.ts";
import type { Core } from "./core.ts";
import type { Handshake } from "./handshake.ts";

export class FrameDispatch implements FrameHandler {
  readonly #core: Core;
  readonly #handshake: Handshake;
  #space: PacketNumberSpace = Space.initial;
  /** The packet's datagram, and where in it the id stands that it came to. */
  #datagram: Buffer = Buffer.alloc(0);
  #idStart = 0;
  #idEnd = 0;

  constructor(core: Core, handshake: Handshake) {
    this.#core = core;
    this.#handshake = handshake;
  }

  begin(space: PacketNumberSpace, datagram: Buffer, idStart: number, idEnd: number): void {
    this.#space = space;
    this.#datagram = datagram;
    this.#idStart = idStart;
    this.#idEnd = idEnd;
  }

  /** A handler has closed the connection, or the peer has. */
  get stopped(): boolean {
    return this.#core.ended;
  }

  get #streams(): Streams {
    const { streams } = this.#core;
    // 1-RTT packets are opened only once the handshake is complete, and then there are streams.
    if (streams === undefined)
      throw new TransportError(TransportErrorCode.INTERNAL_ERROR, "a stream before the handshake");
    return streams;
  }

  onPing(): void {}

  onAck(ack: AckFrame): void {
    this.#core.delivery.onAck(this.#space, ack);
  }

  onCrypto(offset: number, bytes: Buffer): void {
    this.#handshake.onCrypto(this.#space, offset, bytes);
  }

  onStream(id: number, offset: number, bytes: Buffer, fin: boolean): void {
    this.#streams.onStream(id, offset, bytes, fin);
  }

  onResetStream(id: number, errorCode: number, finalSize: number): void {
    this.#streams.onResetStream(id, errorCode, finalSize);
  }

  onStopSending(id: number, errorCode: number): void {
    this.#streams.onStopSending(id, errorCode);
  }

  onMaxData(limit: number): void {
    this.#streams.onMaxData(limit);
  }

  onMaxStreamData(id: number, limit: number): void {
    this.#streams.onMaxStreamData(id, limit);
  }

  onMaxStreams(bidirectional: boolean, limit: number): void {
    this.#streams.onMaxStreams(bidirectional, limit);
  }

  onDataBlocked(limit: number): void {
    this.#streams.onDataBlocked(limit);
  }

  onStreamDataBlocked(id: number, limit: number): void {
    this.#streams.onStreamDataBlocked(id, limit);
  }

  onStreamsBlocked(bidirectional: boolean, limit: number): void {
    this.#streams.onStreamsBlocked(bidirectional, limit);
  }

  onNewConnectionId(sequence: number, retirePriorTo: number, connectionId: Buffer, resetToken: Buffer): void {
    this.#core.remoteIds.onNew(sequence, retirePriorTo, connectionId, resetToken);
  }

  onRetireConnectionId(sequence: number): void {
    const { localIds, peer } = this.#core;
    const usedId = this.#datagram.subarray(this.#idStart, this.#idEnd);
    localIds.onRetire(sequence, usedId, peer.activeConnectionIdLimit);
  }

  onPathChallenge(data: Buffer): void {
    this.#core.paths.onChallenge(data);
  }

  onPathResponse(data: Buffer): void {
    this.#core.paths.onResponse(data);
  }

  onConnectionClose(errorCode: number, frameType: number | undefined, reason: Buffer): void {
    this.#core.onPeerClosed(errorCode, frameType === undefined, reason);
  }

  onHandshakeDone(): void {
    this.#core.confirmHandshake();
  }

  onNewToken(token: Buffer): void {
    this.#core.handler.onNewToken?.(Buffer.from(token));
  }

  onDatagram(bytes: Buffer): void {
    const limit = this.#core.local.maxDatagramFrameSize;
    // The limit counts the frame's type as well, and its length where it has one (RFC 9221 § 3).
    if (1 + bytes.length > limit) throw protocolViolation("a DATAGRAM frame that is larger than we announced");
    this.#core.handler.onDatagram(bytes);
  }
}
