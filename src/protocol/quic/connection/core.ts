/**
 * The parts of a connection, and what happens between them: ids, and the handshake's milestones. Datagrams come
 * in through the receiver and go out through the sender; what becomes of them is delivery's; time and the life of the connection are the façade's.
 */
import { type IdIssuer, LocalIds, RemoteIds } from "../connection-ids.ts";
import { CryptoStream } from "../crypto-stream.ts";
import {
  protocolViolation,
  QuicConnectionError,
  TransportError,
  TransportErrorCode,
  transportErrorName,
} from "../errors.ts";
import { FRAME_TYPES, type Role } from "../frames.ts";
import { type HeaderIds, PACKET_TYPES, PacketType } from "../header.ts";
import { MAX_CLOSE_REASON } from "../limits.ts";
import { type PacketNumberSpace, Space } from "../packet-number.ts";
import type { PathMtu } from "../recovery/path-mtu.ts";
import { PathState } from "../recovery/path-state.ts";
import { ReceivedPackets } from "../recovery/received-packets.ts";
import { Recovery } from "../recovery/recovery.ts";
import { Streams } from "../streams/streams.ts";
import {
  checkHandshakeIds,
  decodeTransportParameters,
  DEFAULT_TRANSPORT_PARAMETERS,
  type TransportParameters,
} from "../transport-parameters.ts";
import type { ConnectionHandler, ConnectionOptions, HandshakeInfo } from "./options.ts";
import { ControlFrames } from "./control-frames.ts";
import { DatagramQueue } from "./datagram-queue.ts";
import { Delivery } from "./delivery.ts";
import { Keyring } from "./keyring.ts";
import { Liveness } from "./liveness.ts";
import type { PacketRecord } from "./packet-record.ts";
import { PacketDrops } from "./packet-drops.ts";
import { Path } from "./path.ts";
import { Paths } from "./paths.ts";

const NO_BYTES = Buffer.alloc(0);

/** 1-RTT header with the longest packet number, tag, and the type and length of a DATAGRAM frame. */
const DATAGRAM_OVERHEAD = 1 + 4 + 16 + 3;

/** Ids are short, and looked at for each packet: a loop costs less than a call of Buffer.compare. */
function standsAt(id: Buffer, bytes: Buffer, start: number, end: number): boolean {
  if (id.length !== end - start) return false;
  for (let i = 0; i < id.length; i++) {
    if (id[i] !== bytes[start + i]) return false;
  }
  return true;
}

/** What both roles know of a connection before its first packet. */
export interface CoreSetup {
  readonly role: Role;
  readonly options: ConnectionOptions;
  readonly handler: ConnectionHandler;
  readonly random: (length: number) => Buffer;
  /** What we announce, connection ids included. */
  readonly local: TransportParameters;
  /** Of the client's first Initial; after a Retry, of the one before it. */
  readonly originalDestination: Buffer;
  /** What the client's Initials are sent to now: their keys come from it. */
  readonly initialDestination: Buffer;
  /** What we send to first: a client's guess, a client's id. */
  readonly peerId: Buffer;
  /** Our first id. */
  readonly initialSource: Buffer;
  readonly resetToken: Buffer;
  readonly issuer: IdIssuer | undefined;
  /** `ip:port`; a client need not know its server's. */
  readonly peerAddress: string;
  readonly addressValidated: boolean;
  /** A token of a former connection to this server (clients). */
  readonly token: Buffer | undefined;
  /** For the client's next connection (servers). */
  readonly newToken: Buffer | undefined;
}

export class Core {
  readonly role: Role;
  readonly options: ConnectionOptions;
  readonly handler: ConnectionHandler;
  readonly random: (length: number) => Buffer;
  readonly local: TransportParameters;
  readonly originalDestination: Buffer;
  readonly initialSource: Buffer;
  readonly keys = new Keyring();
  readonly recovery: Recovery<PacketRecord>;
  readonly received: readonly [ReceivedPackets, ReceivedPackets, ReceivedPackets];
  readonly crypto = [new CryptoStream(), new CryptoStream(), new CryptoStream()] as const;
  readonly delivery = new Delivery(this);
  readonly paths: Paths;
  readonly liveness: Liveness;
  readonly localIds: LocalIds;
  readonly remoteIds: RemoteIds;
  readonly control: ControlFrames;
  readonly datagrams = new DatagramQueue();
  peer: TransportParameters = DEFAULT_TRANSPORT_PARAMETERS;
  streams: Streams | undefined;
  now: number;
  handshakeComplete = false;
  handshakeConfirmed = false;
  /** No packet is looked at any more. */
  ended = false;
  /** The peer's CONNECTION_CLOSE. */
  peerClosed: QuicConnectionError | undefined;
  peerInitialSource: Buffer | undefined;
  retrySource: Buffer | undefined;
  /** For our Initials. */
  token: Buffer | undefined;
  pingPending = false;
  packetsSent = 0;
  packetsReceived = 0;
  readonly drops = new PacketDrops();
  /** Packets that came before their keys, by packet type. */
  readonly packetsBuffered = new Float64Array(PACKET_TYPES);
  /** By frame type. */
  readonly framesReceived = new Float64Array(FRAME_TYPES);
  bytesSent = 0;
  bytesReceived = 0;
  readonly #newToken: Buffer | undefined;
  /** The id that a client's Initials came to, until it knows ours. */
  readonly #initialDestination: Buffer;

  constructor(setup: CoreSetup, now: number) {
    const { role, options, local } = setup;
    this.role = role;
    this.options = options;
    this.handler = setup.handler;
    this.random = setup.random;
    this.local = local;
    this.originalDestination = setup.originalDestination;
    this.initialSource = setup.initialSource;
    this.now = now;
    this.token = setup.token;
    this.#newToken = setup.newToken;
    this.#initialDestination = setup.initialDestination;
    this.liveness = new Liveness(
      {
        maxIdleTimeout: local.maxIdleTimeout,
        keepAlive: options.keepAlive,
        handshakeTimeout: options.handshakeTimeout,
        handshakeIdleTimeout: options.handshakeIdleTimeout,
      },
      now,
    );
    this.localIds = new LocalIds({ sequence: 0, id: setup.initialSource, resetToken: setup.resetToken }, setup.issuer);
    this.remoteIds = new RemoteIds(setup.peerId, local.activeConnectionIdLimit);
    this.control = new ControlFrames(this.localIds, this.remoteIds);
    this.keys.installInitial(role, setup.initialDestination);
    const state = this.newPathState();
    // A client's path needs no validation: it chose it.
    this.paths = new Paths(this, new Path(setup.peerAddress, role === "client" || setup.addressValidated), state);
    this.recovery = new Recovery({ role, path: state, random: this.random });
    const tracker = (space: PacketNumberSpace): ReceivedPackets => new ReceivedPackets(space, local);
    this.received = [tracker(Space.initial), tracker(Space.handshake), tracker(Space.application)];
  }

  // --- Ids ---

  get localIdLength(): number {
    return this.initialSource.length;
  }

  headerIds(): HeaderIds {
    return { destination: this.remoteIds.current, source: this.initialSource };
  }

  /** Whether a packet came to one of our ids. */
  isLocalId(datagram: Buffer, start: number, end: number, type: number): boolean {
    for (const { id } of this.localIds.active) {
      if (standsAt(id, datagram, start, end)) return true;
    }
    const isInitialOfClient = this.role === "server" && type === PacketType.initial;
    return isInitialOfClient && standsAt(this.#initialDestination, datagram, start, end);
  }

  setPeerInitialSource(id: Buffer): void {
    this.peerInitialSource = id;
    if (this.role === "client") this.remoteIds.replaceFirst(id);
  }

  // --- Milestones ---

  onRetry(source: Buffer, token: Buffer): void {
    this.liveness.onReceived(this.now);
    this.retrySource = source;
    this.token = token;
    this.remoteIds.replaceFirst(source);
    this.keys.installInitial("client", source);
    this.recovery.onRetry();
    this.crypto[Space.initial].resendAll();
  }

  setPeerParameters(bytes: Buffer): void {
    const from = this.role === "client" ? "server" : "client";
    const peer = decodeTransportParameters(bytes, from);
    checkHandshakeIds(peer, from, {
      originalDestination: this.originalDestination,
      peerInitialSource: this.peerInitialSource ?? NO_BYTES,
      retrySource: this.retrySource,
    });
    this.peer = peer;
    if (peer.statelessResetToken !== undefined) this.remoteIds.setFirstResetToken(peer.statelessResetToken);
  }

  completeHandshake(info: HandshakeInfo): void {
    const { peer } = this;
    if (peer === DEFAULT_TRANSPORT_PARAMETERS) {
      // RFC 9001 § 8.2: missing_extension.
      throw new TransportError(TransportErrorCode.CRYPTO_ERROR + 109, "the peer sent no transport parameters");
    }
    this.handshakeComplete = true;
    this.liveness.handshakeCompleted(peer.maxIdleTimeout);
    this.recovery.setPeerAckDelay(peer.maxAckDelay);
    this.pathMtu.setPeerLimit(peer.maxUdpPayloadSize);
    this.delivery.followMtu();
    this.localIds.issueUpTo(peer.activeConnectionIdLimit);
    this.streams = this.#createStreams();
    this.handler.onHandshakeComplete(info);
    if (this.role !== "server") return;
    this.control.sendHandshakeDone();
    if (this.#newToken !== undefined) this.control.sendToken(this.#newToken);
    this.confirmHandshake();
  }

  /** A client learns it by HANDSHAKE_DONE, a server by being complete (RFC 9001 § 4.1.2). */
  confirmHandshake(): void {
    if (this.handshakeConfirmed) return;
    if (!this.handshakeComplete) throw protocolViolation("HANDSHAKE_DONE before the handshake was complete");
    this.handshakeConfirmed = true;
    this.recovery.onHandshakeConfirmed();
    this.discard(Space.initial);
    this.discard(Space.handshake);
    this.handler.onHandshakeConfirmed?.();
  }

  /** A server's first Handshake packet: the client has our Initial, and so its address (RFC 9000 § 8.1, RFC 9001 § 4.9.1). */
  onHandshakePacket(): void {
    if (!this.path.validated) this.path.validate();
    this.discard(Space.initial);
  }

  #createStreams(): Streams {
    const { role, local, peer, handler, options } = this;
    return new Streams({
      role,
      local,
      peer,
      clock: this,
      budget: options.budget,
      maxStreamWindow: options.maxStreamWindow,
      onStream: (stream) => handler.onStream(stream),
      onStreamsAvailable: () => handler.onStreamsAvailable?.(),
    });
  }

  discard(space: 0 | 1): void {
    if (this.keys.isDiscarded(space)) return;
    this.keys.discard(space);
    this.recovery.discardSpace(space);
    this.delivery.probes[space] = 0;
  }

  // --- The rest ---

  /** Probe timeout without back-off (RFC 9002 § 6.2.1). */
  pto(): number {
    return this.recovery.rtt.probeTimeout(this.handshakeConfirmed ? this.peer.maxAckDelay : 0);
  }

  /** For the windows of streams: the smoothed round trip in milliseconds. */
  get roundTrip(): number {
    return this.recovery.rtt.smoothed;
  }

  /** The largest datagram that `DATAGRAM` frames carry now; 0 = the peer takes none. */
  get maxDatagramSize(): number {
    const limit = this.peer.maxDatagramFrameSize - 3;
    const room = this.pathMtu.current - DATAGRAM_OVERHEAD - this.remoteIds.current.length;
    return Math.max(0, Math.min(limit, room));
  }

  /** The one that all goes over. */
  get path(): Path {
    return this.paths.current;
  }

  get pathMtu(): PathMtu {
    return this.recovery.path.mtu;
  }

  newPathState(): PathState {
    const { congestion, initialMtu, maxMtu } = this.options;
    const state = new PathState(congestion ?? "new-reno", { initial: initialMtu, maximum: maxMtu });
    if (this.handshakeComplete) state.mtu.setPeerLimit(this.peer.maxUdpPayloadSize);
    return state;
  }

  onPathChanged(state: PathState): void {
    this.recovery.changePath(state);
  }

  onPeerClosed(errorCode: number, byApplication: boolean, reason: Buffer): void {
    const words = reason
      .subarray(0, MAX_CLOSE_REASON)
      .toString("utf8")
      .replaceAll(/[^\x20-\x7e]/g, "?");
    const code = byApplication ? `application error ${errorCode}` : transportErrorName(errorCode);
    this.peerClosed = new QuicConnectionError(
      byApplication ? "peer-application" : "peer-transport",
      `the peer closed the connection: ${code}${words === "" ? "" : `: ${words}`}`,
      { errorCode, reason: words },
    );
    this.ended = true;
  }
}
