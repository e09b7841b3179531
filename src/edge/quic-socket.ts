/**
 * QUIC connections on UDP sockets: what arrives goes to the connection, what it wants to send leaves in one flush a turn of the
 * loop, and one timer follows its deadline.
 */
import dgram from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIPv6 } from "node:net";
import type { QuicConnection } from "../protocol/quic/connection.ts";
import type { ServerEndpoint } from "../protocol/quic/endpoint.ts";

/** The kernel's default loses packets of one burst even on loopback. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

/** Asked of a bound socket: as an option of the socket, a refusal would be thrown where nobody can catch it. */
function widenReceiveBuffer(socket: dgram.Socket): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  } catch {
    // Linux gives as much as it allows; others refuse what is too much, and their default has to do.
  }
}

/** Drives one connection: `wake` after whatever gave it something to send. */
export class QuicPump {
  readonly connection: QuicConnection;
  readonly #send: (datagrams: readonly Buffer[]) => boolean;
  readonly #onClosed: () => void;
  #scheduled = false;
  #closed = false;
  #frozen = false;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  /**
   * @param send true when all have left: none is still in a queue
   * @param onClosed called once, when the connection needs its socket no more
   */
  constructor(connection: QuicConnection, send: (datagrams: readonly Buffer[]) => boolean, onClosed: () => void) {
    this.connection = connection;
    this.#send = send;
    this.#onClosed = onClosed;
  }

  /** Neither hears nor says anything, and lets no time pass: as if the machine were gone. */
  freeze(frozen: boolean): void {
    this.#frozen = frozen;
    if (!frozen) this.wake();
  }

  receive(datagram: Buffer): void {
    if (this.#frozen || this.#closed) return;
    this.connection.receive(datagram, performance.now());
    this.wake();
  }

  wake(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  /** Sends what there is now, without waiting for the end of the turn. */
  flush(): void {
    if (this.#frozen || this.#closed) return;
    const { connection } = this;
    const now = performance.now();
    const deadline = connection.deadline();
    if (deadline !== undefined && now >= deadline) connection.onTimeout(now);
    // One burst a turn: acknowledgements that wait in the socket make the next one better.
    const datagrams = connection.send(now);
    if (datagrams.length > 0 && this.#send(datagrams)) connection.recycle();
    this.#arm();
  }

  /** Forgets the connection: no timer is left. */
  stop(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#onClosed();
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    if (!this.#closed) this.flush();
  };

  #arm(): void {
    const { connection } = this;
    if (connection.state === "closed") {
      this.stop();
      return;
    }
    const deadline = connection.deadline();
    if (deadline === undefined) return;
    const delay = deadline - performance.now();
    if (delay <= 0) {
      this.wake();
      return;
    }
    // Re-armed only for what is earlier: a timer that fires too soon looks again, which costs less than one a packet.
    if (deadline >= this.#timerDue) return;
    clearTimeout(this.#timer);
    this.#timerDue = deadline;
    this.#timer = setTimeout(this.#onTimer, Math.max(0, Math.ceil(delay)));
    // What is left to be said to a peer that has been told goodbye keeps no process alive.
    if (connection.state === "closing" || connection.state === "draining") this.#timer.unref();
  }

  readonly #onTimer = (): void => {
    this.#timerDue = Number.POSITIVE_INFINITY;
    this.flush();
  };
}

export interface ClientSocketOptions {
  readonly ip: string;
  readonly port: number;
  readonly bindAddress?: string | undefined;
  /** The local port that this connection had before; another one is taken where it is not free. */
  readonly bindPort?: number | undefined;
}

/** A socket that talks to one peer. Resolves when it is bound; rejects with the system's error. */
export async function openClientSocket(options: ClientSocketOptions): Promise<dgram.Socket> {
  const { bindPort = 0 } = options;
  if (bindPort !== 0) {
    try {
      return await bindAndConnect(options, bindPort);
    } catch {
      // Taken by another program, perhaps: the edge does not insist.
    }
  }
  return await bindAndConnect(options, 0);
}

function bindAndConnect({ ip, port, bindAddress }: ClientSocketOptions, bindPort: number): Promise<dgram.Socket> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(isIPv6(ip) ? "udp6" : "udp4");
    const failed = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once("error", failed);
    socket.bind({ port: bindPort, ...(bindAddress === undefined ? {} : { address: bindAddress }) }, () => {
      widenReceiveBuffer(socket);
      // Connected: the kernel keeps strangers off, and a send costs less.
      socket.once("connect", () => {
        socket.off("error", failed);
        resolve(socket);
      });
      // Without a callback: that would be given the system's error, and "error" would not be emitted.
      socket.connect(port, ip);
    });
  });
}

/**
 * Sends on a connected socket. What the system says of a datagram is a hint, and loss is found by the connection itself.
 * @param listener gives who is to be told what the system says, as long as that is of interest: it costs an object a datagram
 */
export function sender(
  socket: dgram.Socket,
  listener: () => ((error: Error | null) => void) | undefined,
): (datagrams: readonly Buffer[]) => boolean {
  socket.on("error", () => {});
  return (datagrams) => {
    try {
      const told = listener();
      for (const datagram of datagrams) {
        if (told === undefined) socket.send(datagram);
        else socket.send(datagram, told);
      }
      return socket.getSendQueueCount() === 0;
    } catch {
      // Closed meanwhile.
      return false;
    }
  };
}

/** A socket that talks to whoever comes. Peers' addresses are literal: Node would look each up once a datagram, and send a turn later. */
export async function openServerSocket(host: string, port: number): Promise<dgram.Socket> {
  const { address: own, family } = await lookup(host);
  return await new Promise((resolve, reject) => {
    const socket = dgram.createSocket({
      type: family === 6 ? "udp6" : "udp4",
      lookup: (peer, _options, callback) => callback(null, peer, family),
    });
    socket.once("error", reject);
    socket.bind({ port, address: own }, () => {
      socket.off("error", reject);
      widenReceiveBuffer(socket);
      resolve(socket);
    });
  });
}

/** Serves an endpoint on one unconnected socket. */
export class QuicServerSocket {
  readonly socket: dgram.Socket;
  readonly #endpoint: ServerEndpoint;
  readonly #onConnection: (pump: QuicPump, remoteAddress: string) => void;
  readonly #pumps = new Map<QuicConnection, QuicPump>();
  #closed = false;
  #blocked = false;

  /** @param onConnection called for each connection that a client begins, before anything of it is handled but its first datagram */
  constructor(
    socket: dgram.Socket,
    endpoint: ServerEndpoint,
    onConnection: (pump: QuicPump, remoteAddress: string) => void = () => {},
  ) {
    this.socket = socket;
    this.#endpoint = endpoint;
    this.#onConnection = onConnection;
    socket.on("error", () => {});
    socket.on("message", (datagram, { address, port }) => this.#receive(datagram, address, port));
  }

  /** The connection has something to send that nothing arriving asked for. */
  wake(connection: QuicConnection): void {
    this.#pumps.get(connection)?.wake();
  }

  /** Loses every datagram, both ways, as a network without UDP does; or no longer. */
  block(blocked: boolean): void {
    this.#blocked = blocked;
  }

  /** Tells each peer that the connection is over, and closes the socket without waiting for it to be heard. */
  async close(errorCode: number): Promise<void> {
    if (this.#closed) return;
    for (const [connection, pump] of this.#pumps) {
      connection.close(errorCode, "", performance.now());
      pump.flush();
    }
    for (const pump of Array.from(this.#pumps.values())) pump.stop();
    this.#closed = true;
    await new Promise<void>((resolve) => this.socket.close(() => resolve()));
  }

  #receive(datagram: Buffer, address: string, port: number): void {
    if (this.#closed || this.#blocked) return;
    const { connection, reply } = this.#endpoint.receive(datagram, `${address}:${port}`, performance.now());
    if (reply !== undefined) this.socket.send(reply, port, address);
    if (connection === undefined) return;
    let pump = this.#pumps.get(connection);
    if (pump === undefined) {
      pump = new QuicPump(
        connection,
        (datagrams) => {
          for (const datagram of datagrams) this.#send(connection, datagram);
          // Looking an address up may take a turn.
          return false;
        },
        () => {
          this.#pumps.delete(connection);
          this.#endpoint.forget(connection);
        },
      );
      this.#pumps.set(connection, pump);
      this.#onConnection(pump, `${address}:${port}`);
    }
    pump.wake();
  }

  #send(connection: QuicConnection, datagram: Buffer): void {
    const to = this.#endpoint.addressOf(connection);
    if (to === undefined || this.#blocked) return;
    const colon = to.lastIndexOf(":");
    this.socket.send(datagram, Number(to.slice(colon + 1)), to.slice(0, colon));
  }
}
