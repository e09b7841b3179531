/** The edge's QUIC side: one UDP socket on which connectors begin connections. */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { largestDatagramToTry } from "../edge/link-mtu.ts";
import { openServerSocket, QuicServerSocket } from "../edge/quic-socket.ts";
import { ServerEndpoint } from "../protocol/quic/endpoint.ts";
import { loadMlKem } from "../protocol/tls13/ml-kem.ts";
import type { Leaf } from "./ca.ts";
import { QuicCarrier } from "./quic-carrier.ts";

const ALPN = "argotunnel";

/** As the edge of the day: what lives here is a test's. */
const IDLE_TIMEOUT_MS = 30_000;

export interface QuicListenerOptions {
  readonly host: string;
  readonly port: number;
  /** 32 bytes, default random: one that listens with the secret of another before it answers the other's connections by stateless resets. */
  readonly secret?: Buffer;
  /** What to show to the next connector. */
  certificate(): Leaf;
  onConnection(carrier: QuicCarrier): void;
}

export interface QuicListener {
  readonly port: number;
  /** Loses every datagram, both ways, or no longer. */
  block(blocked: boolean): void;
  close(): Promise<void>;
}

/** Rejects with the system's error where the port is taken. */
export async function listenQuic(options: QuicListenerOptions): Promise<QuicListener> {
  const mlKem = await loadMlKem();
  const socket = await openServerSocket(options.host, options.port);
  /** Made by `accept`, for the connection that the endpoint returns in the same call. */
  let accepted: QuicCarrier | undefined;
  const endpoint = new ServerEndpoint({
    tls: {
      alpn: [ALPN],
      mlKem,
      get certificateChain() {
        return [new X509Certificate(options.certificate().certPem).raw];
      },
      get privateKey() {
        return createPrivateKey(options.certificate().keyPem);
      },
    },
    random: randomBytes,
    secret: options.secret ?? randomBytes(32),
    maxIdleTimeout: IDLE_TIMEOUT_MS,
    maxDatagramFrameSize: 65_535,
    maxMtu: largestDatagramToTry(socket.address().address),
    accept: () => {
      accepted = new QuicCarrier((carrier) => options.onConnection(carrier));
      return accepted;
    },
  });
  const server = new QuicServerSocket(socket, endpoint, (pump, remoteAddress) => {
    accepted?.link({
      connection: pump.connection,
      host: options.host,
      remoteAddress,
      wake: () => pump.wake(),
      flush: () => pump.flush(),
      freeze: (frozen) => pump.freeze(frozen),
      forget: () => pump.stop(),
    });
    accepted = undefined;
  });
  return { port: socket.address().port, block: (blocked) => server.block(blocked), close: () => server.close(0) };
}
