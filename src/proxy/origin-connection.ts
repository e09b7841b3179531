/** One socket to an origin, TCP, Unix or TLS: its handlers are attached once, its user changes with each request. */
import net from "node:net";
import tls from "node:tls";
import type { OriginRequestOptions } from "../types.ts";
import { type ConnectionStage, connectTimeout, dialError, OriginError, tlsTimeout } from "./origin-errors.ts";
import { OriginSocket } from "./origin-socket.ts";
import { hostPort, type OriginTarget, type TcpAddress, type UnixAddress } from "./origin-target.ts";
import { ProxyTunnel } from "./proxy-tunnel.ts";

export interface ConnectionUser {
  /** The connection is open: TLS included. */
  onOpen(): void;
  /** The view is valid only during the call. */
  onBytes(bytes: Buffer): void;
  /** The origin ended its side. */
  onOriginEnd(): void;
  /** The connection is gone: an OriginError if it never opened, else whatever broke it. No other call follows. */
  onGone(error: Error): void;
}

const UNUSED: ConnectionUser = { onOpen() {}, onBytes() {}, onOriginEnd() {}, onGone() {} };

/**
 * Reads land here and are used up within the callback. On Unix, libuv reads and calls back in one step, so all sockets share
 * one buffer, and thousands of held streams cost nothing. Windows posts reads ahead: each plain socket has its own there.
 */
const READ_BUFFER_BYTES = 64 * 1024;
const OWN_READ_BUFFER_BYTES = 16 * 1024;
const sharedReadBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);

function readBuffer(): Buffer {
  return process.platform === "win32" ? Buffer.allocUnsafeSlow(OWN_READ_BUFFER_BYTES) : sharedReadBuffer;
}

/** What tcpKeepAlive 0 means: Go's own default. The kernel's would be two hours, and Node refuses to ask for it. */
const USUAL_KEEP_ALIVE_MS = 15_000;

/** Node fires longer timers at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * How long one address of several may take before the next is tried. Node gives an attempt up when it starts the next, so this
 * must exceed the time that a slow, working address needs; addresses that refuse are passed over at once.
 */
const NEXT_ADDRESS_MS = 1_000;

function nextAddressMs(options: OriginRequestOptions): number {
  if (!options.noHappyEyeballs) return NEXT_ADDRESS_MS;
  // One after the other, as Go does without happy eyeballs: each may take its share of the time.
  return Math.max(NEXT_ADDRESS_MS, options.connectTimeoutMs / 2);
}

export class OriginConnection {
  readonly socket: net.Socket;
  readonly target: OriginTarget;
  user: ConnectionUser;
  readonly #options: OriginRequestOptions;
  readonly #onClosed: () => void;
  readonly #protocols: readonly string[];
  /** What is dialled: the proxy's, where there is one. */
  readonly #address: TcpAddress | UnixAddress;
  #stage: ConnectionStage;
  #timer: NodeJS.Timeout | undefined;
  #paused = false;

  /** Dials. @param onClosed called once, when the socket is gone. @param protocols that TLS offers */
  constructor(
    target: OriginTarget,
    options: OriginRequestOptions,
    user: ConnectionUser,
    onClosed: () => void,
    protocols: readonly string[] = [],
  ) {
    this.target = target;
    this.user = user;
    this.#options = options;
    this.#onClosed = onClosed;
    this.#protocols = protocols;
    if (target.proxy?.problem !== undefined) throw new OriginError("origin-refused", "connect", target.proxy.problem);
    const address = target.proxy?.address ?? target.address;
    this.#address = address;
    this.#stage = address.kind === "tcp" && net.isIP(address.host) === 0 ? "dns" : "connect";
    this.socket = this.#dial();
    this.#attach();
    this.#arm(options.connectTimeoutMs);
  }

  #dial(): net.Socket {
    const { proxy, tls: secure, where } = this.target;
    const address = this.#address;
    // May throw: before there is a socket.
    const security = secure?.connectOptions(this.#protocols);
    const destination =
      address.kind === "unix"
        ? { path: address.path }
        : {
            host: address.host,
            port: address.port,
            autoSelectFamily: true,
            autoSelectFamilyAttemptTimeout: nextAddressMs(this.#options),
          };
    if (proxy !== undefined && security !== undefined) {
      const socket = net.connect({ ...destination, allowHalfOpen: true });
      const tunnel = new ProxyTunnel(socket, proxy, where, () => this.#connected(socket));
      this.#watchLookup(socket);
      tunnel.on("error", (error) => {
        this.#gone(error);
        this.socket.destroy();
      });
      return tls
        .connect({ socket: tunnel, ...security })
        .on("data", (chunk: Buffer) => this.#received(chunk))
        .on("close", () => tunnel.destroy());
    }
    const options = {
      ...destination,
      // Each side ends on its own: a half-closed connection still delivers the rest of the other direction.
      allowHalfOpen: true,
      onread: {
        buffer: readBuffer(),
        callback: (length: number, buffer: Uint8Array): boolean => {
          if (Buffer.isBuffer(buffer)) this.#received(buffer.subarray(0, length));
          return true;
        },
      },
    };
    if (security === undefined) return new OriginSocket(options).connect(options);
    return tls.connect({ ...options, ...security });
  }

  #attach(): void {
    const { socket } = this;
    const secure = this.target.tls;
    this.#watchLookup(socket);
    socket.on("connect", () => this.#connected(socket));
    if (secure !== undefined) {
      socket.on("secureConnect", () => this.#open());
      socket.on("session", (session: Buffer) => secure.remember(session));
    }
    socket.on("end", () => this.#ended());
    socket.on("error", (error) => this.#gone(error));
    socket.on("close", () => {
      clearTimeout(this.#timer);
      this.#gone(new Error("the connection was closed"));
      this.#onClosed();
    });
  }

  #watchLookup(socket: net.Socket): void {
    socket.on("lookup", (error) => {
      if (error === null && this.#stage === "dns") this.#stage = "connect";
    });
  }

  /** TCP is there, and the tunnel through a proxy. */
  #connected(socket: net.Socket): void {
    const { tlsTimeoutMs } = this.#options;
    clearTimeout(this.#timer);
    if (this.#address.kind === "tcp") {
      socket.setNoDelay(true);
      this.#keepAlive(socket);
    }
    if (this.target.tls === undefined) {
      this.#open();
      return;
    }
    this.#stage = "tls";
    this.#arm(tlsTimeoutMs);
  }

  #keepAlive(socket: net.Socket): void {
    const period = this.#options.tcpKeepAliveMs === 0 ? USUAL_KEEP_ALIVE_MS : this.#options.tcpKeepAliveMs;
    // In whole seconds.
    if (period > 0) socket.setKeepAlive(true, Math.ceil(period / 1_000) * 1_000);
  }

  /** 0 = no limit. */
  #arm(milliseconds: number): void {
    if (milliseconds > 0) this.#timer = setTimeout(() => this.#expire(), Math.min(milliseconds, MAX_TIMER_MS));
  }

  #open(): void {
    clearTimeout(this.#timer);
    this.#stage = "open";
    this.#guard(() => this.user.onOpen());
  }

  #received(bytes: Buffer): void {
    try {
      this.user.onBytes(bytes);
    } catch (error) {
      this.#fault(error);
    }
  }

  /** A defect in the user of this connection costs this connection, never the process. */
  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#fault(error);
    }
  }

  #fault(cause: unknown): void {
    const { user } = this;
    this.destroy();
    try {
      user.onGone(cause instanceof Error ? cause : new Error(String(cause)));
    } catch {
      // It has been told; there is nobody else to tell.
    }
  }

  #expire(): void {
    const where = this.#where;
    const error =
      this.#stage === "tls"
        ? tlsTimeout(where, this.#options.tlsTimeoutMs)
        : connectTimeout(where, this.#options.connectTimeoutMs, this.#stage);
    const { user } = this;
    this.destroy();
    this.#guard(() => user.onGone(error));
  }

  #ended(): void {
    // Before it is open an error follows, which says more.
    if (this.#stage === "open") this.#guard(() => this.user.onOriginEnd());
  }

  #gone(error: Error): void {
    const { user } = this;
    this.user = UNUSED;
    const isKnown = this.#stage === "open" || error instanceof OriginError;
    this.#guard(() => user.onGone(isKnown ? error : dialError(error, this.#stage, this.#where)));
  }

  /** Whom it waits for. */
  get #where(): string {
    const { proxy, where } = this.target;
    if (proxy === undefined || this.#stage === "tls" || this.#stage === "open") return where;
    return `the proxy ${hostPort(proxy.address.host, proxy.address.port)}`;
  }

  /** Stops reading: the origin is held back by TCP's window. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.socket.resume();
  }

  /** What ALPN chose; undefined without TLS, or when the origin chose nothing. */
  get protocol(): string | undefined {
    const { socket } = this;
    return socket instanceof tls.TLSSocket && socket.alpnProtocol !== false
      ? (socket.alpnProtocol ?? undefined)
      : undefined;
  }

  /** Was, at least: it stays so when the connection has gone. */
  get isOpen(): boolean {
    return this.#stage === "open";
  }

  /** Ends the connection once everything written has left; its user hears no more of it. */
  close(): void {
    this.user = UNUSED;
    this.socket.destroySoon();
  }

  /** Ends the connection at once; its user hears no more of it. */
  destroy(): void {
    this.user = UNUSED;
    this.socket.destroy();
  }
}
