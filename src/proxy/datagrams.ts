/** What the edge sends as datagrams (wire § 6 to § 8): UDP sessions and ICMP of the private network, for all connections of a tunnel. */
import { readDatagramV2, writePacketV2 } from "../protocol/datagram/v2.ts";
import { readDatagramV3, writePacketV3 } from "../protocol/datagram/v3.ts";
import type { DatagramChannel, DatagramObserver, Logger } from "../types.ts";
import type { FlowLimiter } from "./flow-limiter.ts";
import type { IcmpReturn } from "./icmp/echo-flows.ts";
import { type IcmpOptions, IcmpProxy } from "./icmp/icmp-proxy.ts";
import type { LocalResolvers } from "./local-resolvers.ts";
import { UdpSessionError } from "./udp/errors.ts";
import { type CreateUdpSocket, createUdpSocket } from "./udp/origin-socket.ts";
import { SessionStarter } from "./udp/session-starter.ts";
import { SessionsV2, type UdpSessionRequest } from "./udp/sessions-v2.ts";
import { type SessionCarrier, SessionsV3 } from "./udp/sessions-v3.ts";
import type { EdgeSessions } from "./udp/unregistrations.ts";

export interface DatagramProxyOptions {
  /** Shared with the TCP streams of the private network. */
  readonly flows: FlowLimiter;
  readonly resolvers: LocalResolvers;
  readonly observer: DatagramObserver;
  readonly logger: Logger;
  /** Undefined = no ICMP, as on quick tunnels. */
  readonly icmp: IcmpOptions | undefined;
  /** Default: sockets of this machine. */
  readonly createSocket?: CreateUdpSocket;
}

/** One connection's part. */
export interface DatagramConnection {
  /** The edge's call. Resolves when the session is open; rejects with what the edge is told. */
  registerUdpSession(request: UdpSessionRequest): Promise<void>;
  /** The edge's call. */
  unregisterUdpSession(sessionId: string, message: string): void;
  /** The connection is gone. Idempotent. */
  close(): void;
}

export interface DatagramProxy {
  /** From now on serves what `channel` carries. `version` is what was registered; `edge` takes the calls of version 2. */
  attach(connIndex: number, channel: DatagramChannel, version: 2 | 3, edge: EdgeSessions): DatagramConnection;
  /** UDP sessions of all connections. */
  readonly activeSessions: number;
  /** Ends every session, without a word to the edge. Idempotent. */
  close(): void;
}

function viewOf(datagram: Uint8Array): Buffer {
  return Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength);
}

/** Pings don't count: one that is lost is sent again, and a steady one must not keep a connection from its end. */
function used(channel: DatagramChannel): void {
  channel.sessionsUsedAt = performance.now();
}

class PrivateDatagrams implements DatagramProxy {
  readonly #observer: DatagramObserver;
  readonly #logger: Logger;
  readonly #starter: SessionStarter;
  readonly #sessionsV3: SessionsV3;
  readonly #icmp: IcmpProxy | undefined;
  readonly #connections = new Set<DatagramConnection>();
  #closed = false;

  constructor({ flows, resolvers, observer, logger, icmp, createSocket = createUdpSocket }: DatagramProxyOptions) {
    this.#observer = observer;
    this.#logger = logger;
    this.#starter = new SessionStarter({ flows, resolvers, observer, logger, createSocket });
    this.#sessionsV3 = new SessionsV3(this.#starter);
    this.#icmp = icmp === undefined ? undefined : new IcmpProxy(icmp, observer, logger);
  }

  get activeSessions(): number {
    return this.#starter.active;
  }

  attach(connIndex: number, channel: DatagramChannel, version: 2 | 3, edge: EdgeSessions): DatagramConnection {
    const connection = version === 2 ? this.#attachV2(connIndex, channel, edge) : this.#attachV3(connIndex, channel);
    this.#connections.add(connection);
    if (this.#closed) connection.close();
    return connection;
  }

  close(): void {
    this.#closed = true;
    for (const connection of this.#connections) connection.close();
    this.#sessionsV3.close();
    this.#icmp?.close();
  }

  #attachV2(connIndex: number, channel: DatagramChannel, edge: EdgeSessions): DatagramConnection {
    const send = (datagram: Buffer): boolean => {
      used(channel);
      return channel.send(datagram);
    };
    const sessions = new SessionsV2(this.#starter, connIndex, send, edge);
    const back = this.#return(connIndex, channel, writePacketV2);
    channel.onDatagram = (bytes) => {
      const datagram = readDatagramV2(viewOf(bytes));
      if (datagram.kind === "udp") {
        if (sessions.deliver(datagram.sessionId, datagram.payload)) used(channel);
      }
      // Traces are not kept: a traced packet is a packet.
      else if (datagram.kind === "ip") this.#icmp?.handle(datagram.packet, back);
      else this.#unwanted(2, connIndex, datagram.kind === "malformed" ? datagram.reason : "spans are for the edge");
    };
    const connection: DatagramConnection = {
      registerUdpSession: (request) => sessions.register(request),
      unregisterUdpSession: (sessionId, message) => sessions.unregister(sessionId, message),
      close: () => {
        channel.onDatagram = () => undefined;
        sessions.close();
        this.#connections.delete(connection);
      },
    };
    return connection;
  }

  #attachV3(connIndex: number, channel: DatagramChannel): DatagramConnection {
    const sessions = this.#sessionsV3;
    let isOpen = true;
    const send = (datagram: Uint8Array): boolean => isOpen && channel.send(datagram);
    const carrier: SessionCarrier = {
      connIndex,
      send: (datagram) => {
        used(channel);
        return send(datagram);
      },
    };
    const back = this.#return(connIndex, { send }, writePacketV3);
    channel.onDatagram = (bytes) => {
      const datagram = readDatagramV3(viewOf(bytes));
      if (datagram.kind === "payload") {
        if (sessions.deliver(datagram.requestId, datagram.payload, connIndex)) used(channel);
      } else if (datagram.kind === "registration") sessions.register(datagram, carrier);
      else if (datagram.kind === "icmp") this.#icmp?.handle(datagram.packet, back);
      else this.#unwanted(3, connIndex, datagram.kind === "malformed" ? datagram.reason : "responses are for the edge");
    };
    const refuse = (method: string, command: string): UdpSessionError => {
      this.#observer.unsupportedCall(connIndex, command);
      return new UdpSessionError(`datagram v3 does not support ${method} RPC`);
    };
    const connection: DatagramConnection = {
      registerUdpSession: () => Promise.reject(refuse("RegisterUdpSession", "register_udp_session")),
      unregisterUdpSession() {
        throw refuse("UnregisterUdpSession", "unregister_udp_session");
      },
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        channel.onDatagram = () => undefined;
        sessions.carrierGone(carrier);
        this.#connections.delete(connection);
      },
    };
    return connection;
  }

  #return(connIndex: number, channel: Pick<DatagramChannel, "send">, write: (packet: Buffer) => Buffer): IcmpReturn {
    return {
      connIndex,
      send: (packet) => {
        if (!channel.send(write(packet))) this.#observer.icmpDropped(connIndex, "send_failed");
      },
    };
  }

  /** What no connector can serve costs the edge that one datagram. */
  #unwanted(version: 2 | 3, connIndex: number, reason: string): void {
    this.#observer.udpDropped(version, connIndex, "malformed");
    this.#logger.debug("Dropped a datagram of the edge", { connIndex, reason });
  }
}

export function createDatagramProxy(options: DatagramProxyOptions): DatagramProxy {
  return new PrivateDatagrams(options);
}
