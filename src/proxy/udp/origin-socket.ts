/** A connected UDP socket to one address: opens, keeps what is written meanwhile, and drops what the system does not take in time. */
import dgram from "node:dgram";
import type { DatagramDropReason } from "../../types.ts";
import { hostPort } from "../origin-target.ts";
import { networkError, UdpSessionError } from "./errors.ts";
import { MAX_QUEUED_WRITES, WRITE_DEADLINE_MS } from "./limits.ts";

/** The part of `dgram.Socket` that is used. */
export interface UdpSocket {
  connect(port: number, address: string, callback: (error?: Error) => void): void;
  send(bytes: Uint8Array, callback: (error: Error | null) => void): void;
  close(callback?: () => void): unknown;
  address(): { readonly address: string; readonly port: number };
  remoteAddress(): { readonly address: string; readonly port: number };
  /** Sends that the system has not taken yet. */
  getSendQueueCount(): number;
  on(event: "message", listener: (payload: Buffer, from: { address: string; port: number }) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
}

export type CreateUdpSocket = (type: "udp4" | "udp6") => UdpSocket;

export const createUdpSocket: CreateUdpSocket = (type) => dgram.createSocket(type);

export interface UdpDestination {
  /** An IP, without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface OriginSocketHandler {
  onOpen(): void;
  /** There is no connection; nothing follows. */
  onRefused(error: UdpSessionError): void;
  onPayload(payload: Buffer): void;
  /** The origin, or the way to it, answered a datagram by an ICMP error, or the system refused one. The socket stays usable. */
  onError(error: UdpSessionError, dropped: DatagramDropReason): void;
  onDropped(reason: DatagramDropReason): void;
}

interface QueuedWrite {
  readonly payload: Buffer;
  readonly at: number;
}

export class OriginSocket {
  readonly #destination: UdpDestination;
  readonly #handler: OriginSocketHandler;
  readonly #socket: UdpSocket | undefined;
  readonly #queue: QueuedWrite[] = [];
  #state: "dialling" | "open" | "closed" = "dialling";
  /** As the system spells it. */
  #peer = { address: "", port: 0 };

  /** Reports by `handler`, never before this returns. */
  constructor(destination: UdpDestination, handler: OriginSocketHandler, createSocket: CreateUdpSocket) {
    this.#destination = destination;
    this.#handler = handler;
    this.#socket = this.#open(createSocket);
  }

  #open(createSocket: CreateUdpSocket): UdpSocket | undefined {
    const { host, port } = this.#destination;
    let socket: UdpSocket | undefined;
    try {
      socket = createSocket(host.includes(":") ? "udp6" : "udp4");
      socket.on("error", (error) => this.#onError(error));
      socket.on("message", (payload, from) => this.#onMessage(payload, from));
      socket.connect(port, host, (error) => (error === undefined ? this.#onConnect() : this.#onError(error)));
      return socket;
    } catch (error) {
      // A port that can't be, such as 0.
      const failure = error instanceof Error ? error : new Error(String(error));
      process.nextTick(() => this.#onError(failure));
      return socket;
    }
  }

  /** `ip:port` of this end; undefined until it is open. */
  get localAddress(): string | undefined {
    if (this.#state !== "open" || this.#socket === undefined) return undefined;
    const { address, port } = this.#socket.address();
    return hostPort(address, port);
  }

  /** Copies the payload. */
  write(payload: Uint8Array): void {
    const copy = Buffer.from(payload);
    if (this.#state === "open" && this.#queue.length === 0 && this.#socket?.getSendQueueCount() === 0) {
      this.#socket.send(copy, this.#onSent);
    } else if (this.#state !== "closed") {
      if (this.#queue.length >= MAX_QUEUED_WRITES) this.#handler.onDropped("write_full");
      else this.#queue.push({ payload: copy, at: performance.now() });
    }
  }

  /** Idempotent; no handler is called any more. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#queue.length = 0;
    this.#socket?.close();
  }

  #onConnect(): void {
    if (this.#state !== "dialling" || this.#socket === undefined) return;
    try {
      this.#peer = this.#socket.remoteAddress();
    } catch (error) {
      this.#onError(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#state = "open";
    this.#handler.onOpen();
    this.#flush();
  }

  #onMessage(payload: Buffer, { address, port }: { address: string; port: number }): void {
    // Until it was connected the socket took datagrams of anyone.
    if (this.#state !== "open" || port !== this.#peer.port || address !== this.#peer.address) return;
    this.#handler.onPayload(payload);
  }

  #onError(error: Error): void {
    if (this.#state === "closed") return;
    if (this.#state === "open") {
      this.#handler.onError(networkError("read", this.#ends(), "read", error), "read_failed");
      return;
    }
    const { host, port } = this.#destination;
    this.close();
    this.#handler.onRefused(networkError("dial", hostPort(host, port), "connect", error));
  }

  readonly #onSent = (error: Error | null): void => {
    if (this.#state !== "open") return;
    if (error !== null) this.#handler.onError(networkError("write", this.#ends(), "write", error), "write_failed");
    this.#flush();
  };

  #flush(): void {
    while (this.#state === "open" && this.#queue.length > 0 && this.#socket?.getSendQueueCount() === 0) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      if (performance.now() - next.at > WRITE_DEADLINE_MS) this.#handler.onDropped("write_deadline_exceeded");
      else this.#socket.send(next.payload, this.#onSent);
    }
  }

  #ends(): string {
    const { host, port } = this.#destination;
    return `${this.localAddress ?? ""}->${hostPort(host, port)}`;
  }
}
