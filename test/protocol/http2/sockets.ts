/** The codec on real loopback sockets, for peers that are not ours. */
import net from "node:net";
import { createHttp2Client } from "../../../src/protocol/http2/client.ts";
import { createHttp2Server } from "../../../src/protocol/http2/server.ts";
import type {
  Http2ClientConnection,
  Http2Connection,
  Http2ConnectionHandler,
  Http2Options,
} from "../../../src/protocol/http2/types.ts";

type Handlers = Omit<Http2ConnectionHandler, "onOutput" | "onError"> & { onError?: (error: Error) => void };

/** Moves bytes and time between a socket and the codec that `create` makes. */
function attach<C extends Http2Connection>(
  socket: net.Socket,
  create: (handler: Http2ConnectionHandler) => C,
  handlers: Handlers,
): C {
  let scheduled = false;
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    scheduled = false;
    for (let buffer = codec.takeOutput(); buffer !== undefined; buffer = codec.takeOutput()) {
      const taken = buffer;
      socket.write(taken, () => codec.recycle(taken));
    }
  };
  const arm = (): void => {
    clearTimeout(timer);
    const { deadline } = codec;
    if (deadline === undefined || socket.destroyed) return;
    timer = setTimeout(
      () => {
        codec.tick(performance.now());
        arm();
      },
      Math.max(1, deadline - performance.now()),
    );
  };
  const codec = create({
    ...handlers,
    onOutput() {
      if (scheduled) return;
      scheduled = true;
      setImmediate(flush);
    },
    onError(error) {
      handlers.onError?.(error);
      flush();
      socket.end();
      socket.resume();
    },
  });
  socket.setNoDelay(true);
  socket.on("data", (bytes: Buffer) => {
    codec.receive(bytes, performance.now());
    arm();
  });
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    clearTimeout(timer);
    codec.socketClosed();
  });
  arm();
  return codec;
}

export interface CodecServer {
  readonly port: number;
  readonly connections: Set<Http2Connection>;
  close(): Promise<void>;
}

/** Our server role behind a TCP port, without TLS. */
export async function listenCodec(handlers: Handlers, options: Http2Options = {}): Promise<CodecServer> {
  const sockets = new Set<net.Socket>();
  const connections = new Set<Http2Connection>();
  const server = net.createServer({ allowHalfOpen: false }, (socket) => {
    sockets.add(socket);
    const codec = attach(socket, (handler) => createHttp2Server(options, handler, performance.now()), handlers);
    connections.add(codec);
    socket.on("close", () => {
      sockets.delete(socket);
      connections.delete(codec);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  return {
    port: address.port,
    connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

export interface CodecClient {
  readonly codec: Http2ClientConnection;
  readonly socket: net.Socket;
}

/** Our client role on a TCP connection, without TLS; resolves when the peer's SETTINGS have come. */
export async function connectCodec(
  port: number,
  handlers: Handlers = {},
  options: Http2Options = {},
): Promise<CodecClient> {
  const socket = net.connect(port, "127.0.0.1");
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return await new Promise((resolve, reject) => {
    const codec = attach(socket, (handler) => createHttp2Client(options, handler, performance.now()), {
      ...handlers,
      onReady() {
        resolve({ codec, socket });
        handlers.onReady?.();
      },
      onError(error) {
        reject(error);
        handlers.onError?.(error);
      },
    });
  });
}
