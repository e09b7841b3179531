/** Our side of the interop tests, on sockets: a client, and a server that answers whatever streams ask. */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import type { Socket } from "node:dgram";
import {
  openClientSocket,
  openServerSocket,
  QuicPump,
  QuicServerSocket,
  sender,
} from "../../../src/edge/quic-socket.ts";
import { createAuthority } from "../../../src/mock-edge/ca.ts";
import { connectQuic, type ConnectOptions } from "../../../src/protocol/quic/connection-client.ts";
import type { ConnectionHandler, HandshakeInfo } from "../../../src/protocol/quic/connection/options.ts";
import type { QuicConnection } from "../../../src/protocol/quic/connection.ts";
import { ServerEndpoint, type ServerEndpointOptions } from "../../../src/protocol/quic/endpoint.ts";
import type { QuicConnectionError } from "../../../src/protocol/quic/errors.ts";
import type { QuicStream } from "../../../src/protocol/quic/streams/types.ts";
import type { NamedGroup } from "../../../src/protocol/tls13/session.ts";
import { type Answer, ask, type AskOptions, Responder } from "./workload.ts";

export const NAME = "quic.interop.test";
export const ALPN = "interop";
export const authority = createAuthority();
export const leaf = authority.issue({ dnsNames: [NAME] });

/** What a connection told its owner. */
class Handler implements ConnectionHandler {
  readonly handshake: Promise<HandshakeInfo>;
  readonly closed: Promise<QuicConnectionError>;
  readonly events: string[] = [];
  readonly datagrams: Buffer[] = [];
  onDatagramHere: (bytes: Buffer) => void = () => {};
  onCredit: () => void = () => {};
  connection: QuicConnection | undefined;
  wake: () => void = () => {};
  #complete: (info: HandshakeInfo) => void = () => {};
  #refuse: (error: Error) => void = () => {};
  #close: (error: QuicConnectionError) => void = () => {};

  constructor() {
    this.handshake = new Promise((resolve, reject) => {
      this.#complete = resolve;
      this.#refuse = reject;
    });
    this.handshake.catch(() => {});
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  onHandshakeComplete(info: HandshakeInfo): void {
    this.#complete(info);
  }
  onStream(stream: QuicStream): void {
    if (this.connection === undefined) throw new Error("a stream before its connection");
    stream.sink = new Responder(
      stream,
      this.connection,
      () => this.wake(),
      (event) => this.events.push(event),
    );
  }
  onDatagram(bytes: Buffer): void {
    this.onDatagramHere(bytes);
  }
  onStreamsAvailable(): void {
    this.onCredit();
  }
  onClosed(error: QuicConnectionError): void {
    this.#refuse(error);
    this.#close(error);
  }
}

export interface Client {
  readonly connection: QuicConnection;
  readonly info: HandshakeInfo;
  readonly closed: Promise<QuicConnectionError>;
  ask(command: string, options?: AskOptions): { stream: QuicStream; answer: Promise<Answer> };
  /** Asks as soon as the peer allows one more stream. */
  askWhenAllowed(command: string, options?: AskOptions): Promise<Answer>;
  /** Sends it until it comes back. */
  echoDatagram(bytes: Buffer): Promise<void>;
  wake(): void;
  close(code?: number, reason?: string): void;
}

export type ClientOptions = Omit<Partial<ConnectOptions>, "tls"> & {
  readonly tls?: Partial<ConnectOptions["tls"]>;
};

const GROUPS: readonly NamedGroup[] = ["X25519", "P-256"];

export class Interop {
  readonly #cleanups: (() => void | Promise<void>)[] = [];

  /** Connects to `port`. Rejects when the handshake fails. */
  async client(port: number, options: ClientOptions = {}): Promise<Client> {
    const handler = new Handler();
    const socket: Socket = await openClientSocket({ ip: "127.0.0.1", port });
    const connection = connectQuic(
      {
        handler,
        random: randomBytes,
        maxIdleTimeout: 30_000,
        maxDatagramFrameSize: 16_383,
        ...options,
        tls: {
          serverName: NAME,
          alpn: [ALPN],
          roots: [authority.certPem],
          time: Date.now(),
          groups: GROUPS,
          ...options.tls,
        },
      },
      performance.now(),
    );
    const pump = new QuicPump(
      connection,
      sender(socket, () => undefined),
      () => socket.close(),
    );
    const wake = (): void => pump.wake();
    handler.connection = connection;
    handler.wake = wake;
    socket.on("message", (datagram) => pump.receive(datagram));
    this.#cleanups.push(() => pump.stop());
    wake();
    const info = await handler.handshake;
    const waiting: (() => void)[] = [];
    handler.onCredit = () => {
      for (const go of waiting.splice(0)) go();
    };
    const begin = (command: string, askOptions?: AskOptions): ReturnType<Client["ask"]> =>
      ask(connection, wake, command, askOptions);
    return {
      connection,
      info,
      closed: handler.closed,
      ask: begin,
      async askWhenAllowed(command, askOptions) {
        for (;;) {
          try {
            return await begin(command, askOptions).answer;
          } catch {
            await new Promise<void>((resolve) => waiting.push(resolve));
          }
        }
      },
      async echoDatagram(bytes) {
        await new Promise<void>((resolve) => {
          const again = (): void => {
            connection.sendDatagram(bytes);
            wake();
          };
          const timer = setInterval(again, 300);
          handler.onDatagramHere = (answer) => {
            if (!answer.equals(bytes)) return;
            clearInterval(timer);
            resolve();
          };
          again();
        });
      },
      wake,
      close(code = 0, reason = "") {
        connection.close(code, reason, performance.now());
        pump.flush();
      },
    };
  }

  /** A server that answers. */
  async server(
    options: Omit<Partial<ServerEndpointOptions>, "tls"> & {
      readonly tls?: Partial<ServerEndpointOptions["tls"]>;
    } = {},
  ): Promise<{
    readonly port: number;
    /** The connections in the order in which they came. */
    readonly accepted: readonly Handler[];
  }> {
    const accepted: Handler[] = [];
    const socket = await openServerSocket("127.0.0.1", 0);
    const endpoint = new ServerEndpoint({
      random: randomBytes,
      secret: randomBytes(32),
      maxIdleTimeout: 30_000,
      maxDatagramFrameSize: 16_383,
      ...options,
      tls: {
        certificateChain: [new X509Certificate(leaf.certPem).raw],
        privateKey: createPrivateKey(leaf.keyPem),
        alpn: [ALPN],
        groups: GROUPS,
        ...options.tls,
      },
      accept: () => {
        const handler = new Handler();
        accepted.push(handler);
        handler.onDatagramHere = (bytes) => {
          handler.connection?.sendDatagram(bytes);
          handler.wake();
        };
        // The endpoint makes the connection right behind this call.
        queueMicrotask(() => {
          const connection = [...endpoint.connections].at(-1);
          if (connection === undefined) return;
          handler.connection = connection;
          handler.wake = () => server.wake(connection);
        });
        return handler;
      },
    });
    const server = new QuicServerSocket(socket, endpoint);
    this.#cleanups.push(() => server.close(0));
    return { port: socket.address().port, accepted };
  }

  onCleanup(cleanup: () => void | Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  async end(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }
}
