/** What a connection is made with, and what it tells its owner. */
import type { MemoryBudget } from "../../memory-budget/budget.ts";
import type { QuicConnectionError } from "../errors.ts";
import type { CongestionAlgorithm } from "../recovery/congestion-controller.ts";
import type { CongestionState, LostPackets } from "../recovery/recovery.ts";
import type { QuicStream } from "../streams/types.ts";
import type { DroppedBytes } from "./packet-drops.ts";

/** What TLS agreed on. */
export interface HandshakeInfo {
  readonly alpn: string;
  readonly group: string;
  readonly suite: string;
}

/** All handlers are called from within `receive`, `onTimeout` or `close`; they may call the connection. */
export interface ConnectionHandler {
  /** Streams may be opened from here on. */
  onHandshakeComplete(info: HandshakeInfo): void;
  /** Both sides know that the other is done. */
  onHandshakeConfirmed?(): void;
  /** The peer opened a stream; its sink must be set before this returns. */
  onStream(stream: QuicStream): void;
  /** A view, valid during the call. */
  onDatagram(bytes: Buffer): void;
  /** Once, when the connection is of no more use; its sockets and timers are needed until `state` is `closed`. */
  onClosed(error: QuicConnectionError): void;
  /** After `openStream` returned undefined: the peer allows more. */
  onStreamsAvailable?(): void;
  /** The server's token for the next connection to it (RFC 9000 § 8.1.3). */
  onNewToken?(token: Buffer): void;
}

export interface ConnectionOptions {
  /** Milliseconds of silence after which the connection is gone; 0 = never. */
  readonly maxIdleTimeout?: number;
  /** Milliseconds of silence after which a PING goes out. */
  readonly keepAlive?: number;
  readonly handshakeTimeout?: number;
  readonly handshakeIdleTimeout?: number;
  readonly congestion?: CongestionAlgorithm;
  /** The largest DATAGRAM frame that is taken; 0 = none. */
  readonly maxDatagramFrameSize?: number;
  readonly maxStreamsBidi?: number;
  readonly maxStreamsUni?: number;
  /** The largest that a stream's window grows to. */
  readonly maxStreamWindow?: number;
  /** What all streams of several connections may hold together; made by `createMemoryBudget`. */
  readonly budget?: MemoryBudget;
  /** Size of the first datagrams, and the largest that path MTU discovery tries. */
  readonly initialMtu?: number;
  readonly maxMtu?: number;
  /** 1-RTT packets under one key before it is updated. */
  readonly keyUpdateInterval?: number;
}

export interface ConnectionStats {
  /** Milliseconds. */
  readonly rtt: number;
  readonly minRtt: number;
  readonly latestRtt: number;
  readonly congestionState: CongestionState;
  readonly congestionWindow: number;
  readonly bytesInFlight: number;
  readonly mtu: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly packetsLost: LostPackets;
  /** Packets that did not open, or came twice. */
  readonly packetsDropped: number;
  readonly bytesDropped: readonly DroppedBytes[];
  /** Packets that came before their keys and were kept, by `PacketType`. */
  readonly packetsBuffered: Float64Array;
  /** By frame type; STREAM frames that were sent all under the first of their types. */
  readonly framesSent: Float64Array;
  readonly framesReceived: Float64Array;
  /** What the peer takes. */
  readonly maxUdpPayload: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly datagramsDropped: number;
  readonly keyUpdates: number;
}
