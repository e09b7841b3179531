/** Where connectors dial: HTTP/2 and QUIC on one port number, as they know the edge. */
import { createServer, type Socket } from "node:net";
import type { EdgeProtocol } from "../types.ts";
import type { Leaf } from "./ca.ts";
import { type Listening, listen } from "./listen.ts";
import type { QuicCarrier } from "./quic-carrier.ts";
import { listenQuic, type QuicListener } from "./quic-listener.ts";

/** How often a free port is looked for that is free for TCP and for UDP. */
const PORT_ATTEMPTS = 10;

export interface ConnectorListenersOptions {
  readonly host: string;
  readonly port: number;
  readonly protocols: readonly EdgeProtocol[];
  /** What to show to the next connector that comes by QUIC. */
  certificate(): Leaf;
  onSocket(socket: Socket): void;
  onQuic(carrier: QuicCarrier): void;
}

export interface ConnectorListeners {
  readonly port: number;
  /** Loses every datagram, both ways, or no longer. */
  blockUdp(blocked: boolean): void;
  close(): Promise<void>;
}

/** Rejects with the system's error where the port is taken. */
export async function listenForConnectors(options: ConnectorListenersOptions): Promise<ConnectorListeners> {
  const { host, port, protocols } = options;
  const overQuic = (at: number): Promise<QuicListener> =>
    listenQuic({
      host,
      port: at,
      certificate: () => options.certificate(),
      onConnection: (carrier) => options.onQuic(carrier),
    });
  if (!protocols.includes("http2")) return joined(undefined, await overQuic(port));
  for (let attempt = 1; ; attempt++) {
    const tcp = await listen(
      createServer((socket) => options.onSocket(socket)),
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

function joined(tcp: Listening | undefined, quic: QuicListener | undefined): ConnectorListeners {
  return {
    port: tcp?.port ?? quic?.port ?? 0,
    blockUdp: (blocked) => quic?.block(blocked),
    async close() {
      await Promise.all([tcp?.close(), quic?.close()]);
    },
  };
}
