/** Frames as plain data, and a handler that takes them down: for tests only. */
import type { FrameHandler } from "../../../src/protocol/quic/frame-reader.ts";
import type { AckFrame } from "../../../src/protocol/quic/frames.ts";

/** [name, …arguments], bytes as hex. */
export type TakenFrame = readonly [name: string, ...values: unknown[]];

const hex = (bytes: Buffer): string => bytes.toString("hex");

export class FrameRecorder implements FrameHandler {
  readonly frames: TakenFrame[] = [];

  onPing(): void {
    this.frames.push(["ping"]);
  }
  onAck(ack: AckFrame): void {
    this.frames.push(["ack", ack.largest, ack.delay, [...ack.ranges.subarray(0, 2 * ack.count)]]);
  }
  onCrypto(offset: number, bytes: Buffer): void {
    this.frames.push(["crypto", offset, hex(bytes)]);
  }
  onStream(id: number, offset: number, bytes: Buffer, fin: boolean): void {
    this.frames.push(["stream", id, offset, hex(bytes), fin]);
  }
  onResetStream(id: number, errorCode: number, finalSize: number): void {
    this.frames.push(["resetStream", id, errorCode, finalSize]);
  }
  onStopSending(id: number, errorCode: number): void {
    this.frames.push(["stopSending", id, errorCode]);
  }
  onMaxData(limit: number): void {
    this.frames.push(["maxData", limit]);
  }
  onMaxStreamData(id: number, limit: number): void {
    this.frames.push(["maxStreamData", id, limit]);
  }
  onMaxStreams(bidirectional: boolean, limit: number): void {
    this.frames.push(["maxStreams", bidirectional, limit]);
  }
  onDataBlocked(limit: number): void {
    this.frames.push(["dataBlocked", limit]);
  }
  onStreamDataBlocked(id: number, limit: number): void {
    this.frames.push(["streamDataBlocked", id, limit]);
  }
  onStreamsBlocked(bidirectional: boolean, limit: number): void {
    this.frames.push(["streamsBlocked", bidirectional, limit]);
  }
  onNewConnectionId(sequence: number, retirePriorTo: number, connectionId: Buffer, resetToken: Buffer): void {
    this.frames.push(["newConnectionId", sequence, retirePriorTo, hex(connectionId), hex(resetToken)]);
  }
  onRetireConnectionId(sequence: number): void {
    this.frames.push(["retireConnectionId", sequence]);
  }
  onPathChallenge(data: Buffer): void {
    this.frames.push(["pathChallenge", hex(data)]);
  }
  onPathResponse(data: Buffer): void {
    this.frames.push(["pathResponse", hex(data)]);
  }
  onConnectionClose(errorCode: number, frameType: number | undefined, reason: Buffer): void {
    this.frames.push(["connectionClose", errorCode, frameType, reason.toString()]);
  }
  onHandshakeDone(): void {
    this.frames.push(["handshakeDone"]);
  }
  onNewToken(token: Buffer): void {
    this.frames.push(["newToken", hex(token)]);
  }
  onDatagram(bytes: Buffer): void {
    this.frames.push(["datagram", hex(bytes)]);
  }
}
