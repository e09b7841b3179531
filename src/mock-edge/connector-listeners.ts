/** Where connectors dial: HTTP/2 and QUIC on one port number of each host, as they know the edge. */
import { randomBytes } from "node:crypto";
import { createServer, type Socket } from "node:net";
import type { EdgeProtocol } from "../types.ts";
import type { Leaf } from "./ca.ts";
import { type Listening, listen } from "./listen.ts";
import type { QuicCarrier } from "./quic-carrier.ts";
import { listenQuic, type QuicListener } from "./quic-listener.ts";

/** How often a free port is looked for that is free for TCP and for UDP. */
const PORT_ATTEMPTS = 10;

export interface ConnectorListenersOptions {
  /** At least one. */
  readonly hosts: readonly string[];
  readonly port: number;
  readonly protocols: readonly EdgeProtocol[];
  /** What to show to the next connector that comes by QUIC. */
  certificate(): Leaf;
  onSocket(socket: Socket, host: string): void;
  onQuic(carrier: QuicCarrier): void;
}

/** What listens on one host. */
interface HostListeners {
  readonly port: number;
  blockUdp(blocked: boolean): void;
  close(): Promise<void>;
}

export class ConnectorListeners {
  readonly #options: ConnectorListenersOptions;
  /** The same for each time that a host begins to listen, as of a machine that is restarted. */
  readonly #secret = randomBytes(32);
  readonly #listening = new Map<string, HostListeners>();
  #port: number;
  #udpBlocked = false;

  constructor(options: ConnectorListenersOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  get port(): number {
    return this.#port;
  }

  /** Rejects with the system's error where the port is taken; then nothing listens. */
  async open(): Promise<void> {
    try {
      for (const host of this.#options.hosts) await this.listen(host);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Begins to listen on the host, or again on the port that it had. */
  async listen(host: string): Promise<void> {
    if (this.#listening.has(host)) return;
    const listeners = await listenOn(host, this.#port, this.#secret, this.#options);
    this.#port = listeners.port;
    listeners.blockUdp(this.#udpBlocked);
    this.#listening.set(host, listeners);
  }

  /** Ends what listens on the host, with its connections. */
  async stop(host: string): Promise<void> {
    const listeners = this.#listening.get(host);
    this.#listening.delete(host);
    await listeners?.close();
  }

  /** Loses every datagram, both ways, or no longer. */
  blockUdp(blocked: boolean): void {
    this.#udpBlocked = blocked;
    for (const listeners of this.#listening.values()) listeners.blockUdp(blocked);
  }

  async close(): Promise<void> {
    await Promise.all(this.#options.hosts.map((host) => this.stop(host)));
  }
}

async function listenOn(
  host: string,
  port: number,
  secret: Buffer,
  options: ConnectorListenersOptions,
): Promise<HostListeners> {
  const { protocols } = options;
  const overQuic = (at: number): Promise<QuicListener> =>
    listenQuic({
      host,
      port: at,
      secret,
      certificate: () => options.certificate(),
      onConnection: (carrier) => options.onQuic(carrier),
    });
  if (!protocols.includes("http2")) return joined(undefined, await overQuic(port));
  for (let attempt = 1; ; attempt++) {
    const tcp = await listen(
      createServer((socket) => options.onSocket(socket, host)),
      host,
      port,
    );
    if (!protocols.includes("quic")) return joined(tcp, undefined);
    try {
      return joined(tcp, await overQuic(tcp.port));
    } catch (error) {
      await tcp.close();
      if (port !== 0 || attempt >= PORT_ATTEMPTS) throw error;
    }
  }
}

function joined(tcp: Listening | undefined, quic: QuicListener | undefined): HostListeners {
  return {
    port: tcp?.port ?? quic?.port ?? 0,
    blockUdp: (blocked) => quic?.block(blocked),
    async close() {
      await Promise.all([tcp?.close(), quic?.close()]);
    },
  };
}
