/** Starting and stopping the servers of a mock edge. */
import type { Server, Socket } from "node:net";

/** A server that listens, and every socket that it has accepted. */
export interface Listening {
  readonly port: number;
  /** Stops listening and closes every socket. */
  close(): Promise<void>;
}

export async function listen(server: Server, host: string, port: number): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server listens on no port");
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** As a URL spells it; who listens on every address is reached on loopback. */
export function urlHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

interface Closable {
  close(): Promise<void>;
}

/** All of them, or none: what has started is closed again when another could not. */
export async function allOrNone<T extends readonly Closable[]>(
  starting: {
    readonly [K in keyof T]: Promise<T[K]>;
  },
): Promise<T> {
  const results = await Promise.allSettled<Closable>(starting);
  const failed = results.find((result) => result.status === "rejected");
  if (failed === undefined) return await Promise.all(starting);
  for (const result of results) if (result.status === "fulfilled") await result.value.close();
  throw failed.reason;
}
