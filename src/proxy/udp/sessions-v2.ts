/** UDP sessions of datagrams version 2 (wire § 6): made and ended by RPC, each bound to the connection on which it was made. */
import { MAX_UDP_PAYLOAD_BYTES } from "../../protocol/datagram/limits.ts";
import { parseSessionId } from "../../protocol/datagram/session-id.ts";
import { writeUdpV2 } from "../../protocol/datagram/v2.ts";
import type { DatagramDropReason } from "../../types.ts";
import { formatDuration } from "../ingress/duration.ts";
import { UdpSessionError } from "./errors.ts";
import type { SessionHandler, UdpSession } from "./session.ts";
import type { SessionStarter } from "./session-starter.ts";
import { type EdgeSessions, Unregistrations } from "./unregistrations.ts";

export interface UdpSessionRequest {
  /** UUID. */
  readonly sessionId: string;
  /** An IP. */
  readonly dstIp: string;
  readonly dstPort: number;
  /** 0 = 210 s. */
  readonly closeAfterIdleMs: number;
}

interface Entry {
  readonly id: string;
  readonly request: UdpSessionRequest;
  readonly session: UdpSession;
  readonly release: () => void;
  /** Resolves when the session is open. */
  readonly opened: Promise<void>;
  readonly settle: (error: UdpSessionError | undefined) => void;
}

export class SessionsV2 implements SessionHandler {
  readonly #starter: SessionStarter;
  readonly #connIndex: number;
  readonly #send: (datagram: Buffer) => boolean;
  readonly #unregistrations: Unregistrations;
  readonly #entries = new Map<string, Entry>();
  readonly #bySession = new Map<UdpSession, Entry>();
  #closed = false;

  constructor(starter: SessionStarter, connIndex: number, send: (datagram: Buffer) => boolean, edge: EdgeSessions) {
    this.#starter = starter;
    this.#connIndex = connIndex;
    this.#send = send;
    this.#unregistrations = new Unregistrations(edge, (sessionId, error) =>
      starter.context.logger.debug("Failed to unregister a UDP session with the edge", { sessionId, connIndex, error }),
    );
  }

  /** Resolves when the session is open; rejects with a UdpSessionError that says why there is none. */
  async register(request: UdpSessionRequest): Promise<void> {
    const { sessionId, dstIp, dstPort, closeAfterIdleMs } = request;
    const id = parseSessionId(sessionId);
    if (id === undefined) throw new UdpSessionError("the session id is no UUID");
    if (this.#closed) throw new UdpSessionError("session manager closed");
    const existing = this.#entries.get(id);
    if (existing !== undefined && isSame(existing.request, request)) {
      // The edge has not got our answer.
      existing.session.touch();
      return existing.opened;
    }
    if (existing !== undefined) this.#end(existing, new UdpSessionError("the session was registered anew"));
    const started = this.#starter.start({ host: dstIp, port: dstPort, idleMs: closeAfterIdleMs }, this);
    if (started === undefined) {
      this.#log("warn", "Too many flows of the private network, refusing a UDP session", {
        host: dstIp,
        port: dstPort,
      });
      throw new UdpSessionError("failed to start udp session due to rate limiting: too many active flows");
    }
    let settle: Entry["settle"] = () => undefined;
    const opened = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    // Whoever waits for it is told; nobody need be.
    opened.catch(() => undefined);
    const entry: Entry = { id, request, ...started, opened, settle };
    this.#entries.set(id, entry);
    this.#bySession.set(started.session, entry);
    return opened;
  }

  /** By the edge, which is not told of it. An unknown session is none any more already. */
  unregister(sessionId: string, message: string): void {
    const entry = this.#entries.get(parseSessionId(sessionId) ?? "");
    if (entry === undefined) return;
    this.#log("debug", "UDP session ended by the edge", { sessionId, message });
    this.#end(entry, new UdpSessionError(`the edge ended the session: ${message}`));
  }

  /** A payload from the edge; the view is valid only during the call. False when there is no such session. */
  deliver(id: string, payload: Buffer): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) this.#starter.context.observer.udpDropped(2, this.#connIndex, "write_flow_unknown");
    else entry.session.write(payload);
    return entry !== undefined;
  }

  /** The connection is gone, and its sessions with it: silently. */
  close(): void {
    this.#closed = true;
    this.#unregistrations.clear();
    for (const entry of this.#entries.values()) this.#end(entry, new UdpSessionError("the connection is gone"));
  }

  onOpen(session: UdpSession): void {
    const entry = this.#bySession.get(session);
    if (entry === undefined) return;
    this.#starter.context.observer.sessionOpened(2, this.#connIndex);
    const { dstIp, dstPort, sessionId } = entry.request;
    this.#log("debug", "UDP session registered", {
      sessionId,
      host: dstIp,
      port: dstPort,
      local: session.localAddress,
    });
    entry.settle(undefined);
  }

  onRefused(session: UdpSession, error: UdpSessionError): void {
    const entry = this.#bySession.get(session);
    if (entry === undefined) return;
    this.#starter.context.observer.sessionFailed(2, this.#connIndex);
    this.#log("warn", "Failed to open a UDP session", { sessionId: entry.request.sessionId, error });
    this.#end(entry, error);
  }

  onPayload(session: UdpSession, payload: Buffer): void {
    const entry = this.#bySession.get(session);
    if (entry === undefined) return;
    if (payload.length > MAX_UDP_PAYLOAD_BYTES) this.onDropped(session, "read_too_large");
    else if (!this.#send(writeUdpV2(entry.id, payload))) this.onDropped(session, "send_failed");
  }

  onError(session: UdpSession, error: UdpSessionError, dropped: DatagramDropReason): void {
    const cause = error.cause as NodeJS.ErrnoException | undefined;
    if (dropped === "write_failed" && cause?.code !== "ECONNREFUSED") {
      // One datagram that the system refused; an answer to an earlier one comes as an error of reading.
      this.onDropped(session, dropped);
      return;
    }
    this.#starter.context.observer.sessionFailed(2, this.#connIndex);
    this.#endAndTell(session, error.message);
  }

  onDropped(_session: UdpSession, reason: DatagramDropReason): void {
    this.#starter.context.observer.udpDropped(2, this.#connIndex, reason);
  }

  onIdle(session: UdpSession): void {
    this.#endAndTell(session, `session idle for ${formatDuration(session.idleMs)}`);
  }

  #endAndTell(session: UdpSession, message: string): void {
    const entry = this.#bySession.get(session);
    if (entry === undefined) return;
    const { sessionId } = entry.request;
    this.#log("debug", "UDP session ended", { sessionId, message });
    this.#end(entry, new UdpSessionError(message));
    this.#unregistrations.add(sessionId, message);
  }

  #end(entry: Entry, reason: UdpSessionError): void {
    const wasOpen = entry.session.isOpen;
    this.#entries.delete(entry.id);
    this.#bySession.delete(entry.session);
    entry.session.close();
    entry.release();
    if (wasOpen) this.#starter.context.observer.sessionClosed(2, this.#connIndex);
    entry.settle(reason);
  }

  #log(level: "debug" | "warn", message: string, fields: Record<string, unknown>): void {
    this.#starter.context.logger[level](message, { connIndex: this.#connIndex, ...fields });
  }
}

function isSame(a: UdpSessionRequest, b: UdpSessionRequest): boolean {
  return a.dstIp === b.dstIp && a.dstPort === b.dstPort;
}
