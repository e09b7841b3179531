/**
 * UDP sessions of datagrams version 3 (wire § 7): made by datagrams, and shared by all connections of a tunnel, between
 * which the edge may move them. Nobody is told of an end.
 */
import { MAX_UDP_PAYLOAD_BYTES } from "../../protocol/datagram/limits.ts";
import { sessionIdText } from "../../protocol/datagram/session-id.ts";
import { type Registration, ResponseCode, writePayloadV3, writeResponse } from "../../protocol/datagram/v3.ts";
import type { DatagramDropReason } from "../../types.ts";
import { formatDuration } from "../ingress/duration.ts";
import { hostPort } from "../origin-target.ts";
import type { UdpSessionError } from "./errors.ts";
import { ORPHAN_MS } from "./limits.ts";
import type { SessionHandler, UdpSession } from "./session.ts";
import type { SessionStarter } from "./session-starter.ts";

/** A connection that carries sessions. */
export interface SessionCarrier {
  readonly connIndex: number;
  send(datagram: Buffer): boolean;
}

interface Flow {
  readonly requestId: string;
  readonly session: UdpSession;
  readonly release: () => void;
  /** Where payloads of the origin go; stays the last one while the flow waits for another. */
  carrier: SessionCarrier;
  /** Runs while there is no carrier. */
  orphaned: NodeJS.Timeout | undefined;
}

export class SessionsV3 implements SessionHandler {
  readonly #starter: SessionStarter;
  readonly #flows = new Map<string, Flow>();
  readonly #bySession = new Map<UdpSession, Flow>();

  constructor(starter: SessionStarter) {
    this.#starter = starter;
  }

  register(registration: Registration, carrier: SessionCarrier): void {
    const flow = this.#flows.get(registration.requestId);
    if (flow === undefined) this.#start(registration, carrier);
    else this.#again(flow, carrier);
  }

  #start({ requestId, address, port, idleSeconds, payload }: Registration, carrier: SessionCarrier): void {
    const started = this.#starter.start({ host: address, port, idleMs: idleSeconds * 1000 }, this);
    const { logger } = this.#starter.context;
    if (started === undefined) {
      logger.warn("Too many flows of the private network, refusing a UDP session", {
        connIndex: carrier.connIndex,
        flowID: sessionIdText(requestId),
        host: address,
        port,
      });
      respond(carrier, requestId, ResponseCode.tooManyFlows);
      return;
    }
    const flow: Flow = { requestId, ...started, carrier, orphaned: undefined };
    this.#flows.set(requestId, flow);
    this.#bySession.set(started.session, flow);
    if (payload !== undefined) started.session.write(payload);
    logger.debug("UDP session registered", { ...fieldsOf(flow), destination: hostPort(address, port) });
  }

  /** The edge did not get our answer, or wants the session on another connection. Its payload has been delivered already. */
  #again(flow: Flow, carrier: SessionCarrier): void {
    const { observer, logger } = this.#starter.context;
    const from = flow.carrier;
    const isMoved = from !== carrier;
    flow.session.touch();
    if (isMoved) {
      clearTimeout(flow.orphaned);
      flow.orphaned = undefined;
      flow.carrier = carrier;
    }
    // Not yet open: the answer comes when it is.
    if (!flow.session.isOpen) return;
    if (isMoved) {
      observer.sessionMigrated(from.connIndex, carrier.connIndex);
      logger.debug("UDP session moved to another connection", { ...fieldsOf(flow), from: from.connIndex });
    } else observer.registrationRepeated(carrier.connIndex);
    respond(carrier, flow.requestId, ResponseCode.ok);
  }

  /** A payload from the edge, by whichever connection; the view is valid only during the call. False when there is no such session. */
  deliver(requestId: string, payload: Buffer, connIndex: number): boolean {
    const flow = this.#flows.get(requestId);
    if (flow === undefined) this.#starter.context.observer.udpDropped(3, connIndex, "write_flow_unknown");
    else flow.session.write(payload);
    return flow !== undefined;
  }

  /** The connection is gone; its sessions wait a little for another. */
  carrierGone(carrier: SessionCarrier): void {
    for (const flow of this.#flows.values()) {
      if (flow.carrier !== carrier) continue;
      flow.orphaned = setTimeout(() => this.#end(flow, "its connection is gone"), ORPHAN_MS);
    }
  }

  close(): void {
    for (const flow of this.#flows.values()) this.#end(flow, "the tunnel is closed");
  }

  onOpen(session: UdpSession): void {
    const flow = this.#bySession.get(session);
    if (flow === undefined) return;
    this.#starter.context.observer.sessionOpened(3, flow.carrier.connIndex);
    respond(flow.carrier, flow.requestId, ResponseCode.ok);
  }

  onRefused(session: UdpSession, error: UdpSessionError): void {
    const flow = this.#bySession.get(session);
    if (flow === undefined) return;
    const { observer, logger } = this.#starter.context;
    observer.sessionFailed(3, flow.carrier.connIndex);
    logger.warn("Failed to open a UDP session", { ...fieldsOf(flow), error });
    this.#end(flow, error.message);
    respond(flow.carrier, flow.requestId, ResponseCode.unableToBind);
  }

  onPayload(session: UdpSession, payload: Buffer): void {
    const flow = this.#bySession.get(session);
    if (flow === undefined) return;
    if (payload.length > MAX_UDP_PAYLOAD_BYTES) this.onDropped(session, "read_too_large");
    else if (flow.orphaned !== undefined || !flow.carrier.send(writePayloadV3(flow.requestId, payload)))
      this.onDropped(session, "send_failed");
  }

  /** Costs a datagram and not the session: the edge would not hear of its end, and the origin may be back at any time. */
  onError(session: UdpSession, _error: UdpSessionError, dropped: DatagramDropReason): void {
    this.onDropped(session, dropped);
  }

  onDropped(session: UdpSession, reason: DatagramDropReason): void {
    const connIndex = this.#bySession.get(session)?.carrier.connIndex;
    if (connIndex !== undefined) this.#starter.context.observer.udpDropped(3, connIndex, reason);
  }

  onIdle(session: UdpSession): void {
    const flow = this.#bySession.get(session);
    if (flow !== undefined) this.#end(flow, `flow was idle for ${formatDuration(session.idleMs)}`);
  }

  #end(flow: Flow, reason: string): void {
    const { observer, logger } = this.#starter.context;
    const { session } = flow;
    clearTimeout(flow.orphaned);
    this.#flows.delete(flow.requestId);
    this.#bySession.delete(session);
    if (session.isOpen) observer.sessionClosed(3, flow.carrier.connIndex);
    session.close();
    flow.release();
    logger.debug("UDP session ended", { ...fieldsOf(flow), reason });
  }
}

/** When it is lost, the edge asks again. */
function respond(carrier: SessionCarrier, requestId: string, code: number): void {
  carrier.send(writeResponse(requestId, code));
}

function fieldsOf({ carrier, requestId, session }: Flow): Record<string, unknown> {
  return { connIndex: carrier.connIndex, flowID: sessionIdText(requestId), local: session.localAddress };
}
