/** What sessions of both versions share when they begin: the limit of flows, the way to the destination, the sockets. */
import type { DatagramObserver, Logger } from "../../types.ts";
import type { FlowLimiter } from "../flow-limiter.ts";
import type { LocalResolvers } from "../local-resolvers.ts";
import { destinationsOf } from "./destinations.ts";
import { MAX_SESSIONS } from "./limits.ts";
import type { CreateUdpSocket } from "./origin-socket.ts";
import { type SessionHandler, UdpSession } from "./session.ts";

export interface SessionContext {
  /** Shared with the TCP streams of the private network (wire § 11). */
  readonly flows: FlowLimiter;
  readonly resolvers: LocalResolvers;
  readonly observer: DatagramObserver;
  readonly logger: Logger;
  readonly createSocket: CreateUdpSocket;
}

export interface SessionDestination {
  /** An IP. */
  readonly host: string;
  readonly port: number;
  /** 0 = 210 s. */
  readonly idleMs: number;
}

export class SessionStarter {
  readonly context: SessionContext;
  #active = 0;

  constructor(context: SessionContext) {
    this.context = context;
  }

  get active(): number {
    return this.#active;
  }

  /** A session that is being opened, and what gives its place back, once; undefined when there is no place. */
  start(
    { host, port, idleMs }: SessionDestination,
    handler: SessionHandler,
  ): { readonly session: UdpSession; readonly release: () => void } | undefined {
    const { flows, resolvers, observer, createSocket } = this.context;
    const giveBack = this.#active < MAX_SESSIONS ? flows.acquire() : undefined;
    if (giveBack === undefined) {
      observer.flowRefused();
      return undefined;
    }
    const { destinations, isVirtualDns } = destinationsOf(host, port, resolvers);
    if (isVirtualDns) observer.dnsSession();
    this.#active++;
    let held = true;
    const release = (): void => {
      if (held) this.#active--;
      held = false;
      giveBack();
    };
    return { session: new UdpSession({ destinations, idleMs, createSocket }, handler), release };
  }
}
