/** One UDP session of the private network, whatever version of datagrams carries it: a socket, and the time without traffic. */
import type { DatagramDropReason } from "../../types.ts";
import type { UdpSessionError } from "./errors.ts";
import { DEFAULT_IDLE_MS } from "./limits.ts";
import { type CreateUdpSocket, OriginSocket, type OriginSocketHandler, type UdpDestination } from "./origin-socket.ts";

export interface SessionHandler {
  /** Called once, then the session carries payloads… */
  onOpen(session: UdpSession): void;
  /** … or this: there is no session. */
  onRefused(session: UdpSession, error: UdpSessionError): void;
  onPayload(session: UdpSession, payload: Buffer): void;
  /** The origin can't be reached, or a datagram was refused. The session goes on unless it is closed. */
  onError(session: UdpSession, error: UdpSessionError, dropped: DatagramDropReason): void;
  onDropped(session: UdpSession, reason: DatagramDropReason): void;
  /** Neither side has sent anything for `idleMs`. */
  onIdle(session: UdpSession): void;
}

export interface SessionOptions {
  /** In the order in which they are tried; at least one. */
  readonly destinations: readonly UdpDestination[];
  /** 0 = 210 s. */
  readonly idleMs: number;
  readonly createSocket: CreateUdpSocket;
}

export class UdpSession implements OriginSocketHandler {
  readonly idleMs: number;
  readonly #handler: SessionHandler;
  readonly #createSocket: CreateUdpSocket;
  /** Not tried yet. */
  #others: readonly UdpDestination[];
  #socket: OriginSocket;
  #isOpen = false;
  #isAnswered = false;
  /** The last payload, while there is another destination that could get it. */
  #unanswered: Buffer | undefined;
  #lastActive = performance.now();
  #timer: NodeJS.Timeout;
  #closed = false;

  constructor({ destinations, idleMs, createSocket }: SessionOptions, handler: SessionHandler) {
    const [first, ...others] = destinations;
    if (first === undefined) throw new RangeError("a session has no destination");
    this.idleMs = idleMs === 0 ? DEFAULT_IDLE_MS : idleMs;
    this.#handler = handler;
    this.#createSocket = createSocket;
    this.#others = others;
    this.#socket = new OriginSocket(first, this, createSocket);
    this.#timer = setTimeout(() => this.#checkIdle(), this.idleMs);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** `ip:port` of the socket; undefined until it is open. */
  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  /** Counts as traffic. */
  touch(): void {
    this.#lastActive = performance.now();
  }

  /** Copies the payload. */
  write(payload: Uint8Array): void {
    if (this.#closed) return;
    this.touch();
    if (this.#others.length > 0 && !this.#isAnswered) this.#unanswered = Buffer.from(payload);
    this.#socket.write(payload);
  }

  /** Idempotent; no handler is called any more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket.close();
  }

  onOpen(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#handler.onOpen(this);
  }

  onRefused(error: UdpSessionError): void {
    if (this.#next()) return;
    if (this.#isOpen) this.#handler.onError(this, error, "write_failed");
    else this.#handler.onRefused(this, error);
  }

  onPayload(payload: Buffer): void {
    this.touch();
    this.#isAnswered = true;
    this.#unanswered = undefined;
    this.#handler.onPayload(this, payload);
  }

  onError(error: UdpSessionError, dropped: DatagramDropReason): void {
    if (!this.#isAnswered && this.#next()) return;
    this.#handler.onError(this, error, dropped);
  }

  onDropped(reason: DatagramDropReason): void {
    this.#handler.onDropped(this, reason);
  }

  #next(): boolean {
    const [next, ...others] = this.#others;
    if (next === undefined) return false;
    this.#others = others;
    this.#socket.close();
    this.#socket = new OriginSocket(next, this, this.#createSocket);
    if (this.#unanswered !== undefined) this.#socket.write(this.#unanswered);
    return true;
  }

  #checkIdle(): void {
    const left = this.#lastActive + this.idleMs - performance.now();
    if (left > 0) this.#timer = setTimeout(() => this.#checkIdle(), Math.ceil(left));
    else this.#handler.onIdle(this);
  }
}
