/** Origins that speak HTTP/2, by node:http2. */
import http2 from "node:http2";
import type net from "node:net";
import { type Certificate } from "../certificates.ts";
import { type Cleanup, listen } from "../harness.ts";

export type StreamListener = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;

export interface Http2Origin {
  readonly server: http2.Http2Server | http2.Http2SecureServer;
  readonly sessions: http2.ServerHttp2Session[];
  readonly sockets: Set<net.Socket>;
}

/** @param secure with TLS; then ALPN decides */
export async function http2Origin(
  cleanup: Cleanup,
  onStream: StreamListener,
  secure?: Certificate,
  settings: http2.Settings = {},
): Promise<Http2Origin> {
  const server =
    secure === undefined
      ? http2.createServer({ settings })
      : http2.createSecureServer({ ...secure, settings, allowHTTP1: true });
  const sessions: http2.ServerHttp2Session[] = [];
  const sockets = new Set<net.Socket>();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    onStream(stream, headers);
  });
  server.on("session", (session: http2.ServerHttp2Session) => {
    session.on("error", () => {});
    sessions.push(session);
  });
  server.on("sessionError", () => {});
  server.on(secure === undefined ? "connection" : "secureConnection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  cleanup.add(await listen(server), () => {
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { server, sessions, sockets };
}
