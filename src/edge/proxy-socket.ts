/** TCP to the edge through a proxy of the local network: HTTP CONNECT or SOCKS5. */
import net from "node:net";
import { ConnectAnswer, connectRequest } from "../protocol/http1/connect.ts";
import { Socks5Client, type Socks5Credentials } from "../protocol/socks5/client.ts";
import type { EdgeAddress } from "../types.ts";
import { DialError } from "./errors.ts";

export type EdgeProxy = { readonly host: string; readonly port: number } & (
  | {
      readonly kind: "http";
      /** Value of `Proxy-Authorization`. */
      readonly authorization: string | undefined;
    }
  | { readonly kind: "socks5"; readonly credentials: Socks5Credentials | undefined }
);

/** What to do about a refusal, by its status (RFC 9110 § 15). */
const ADVICE: Readonly<Record<number, string>> = {
  403: "its rules forbid that destination or port",
  405: "it is a web server, or a proxy without CONNECT",
  407: "it wants a user and a password: http://user:password@host:port",
};

interface Handshake {
  start(): Buffer | string;
  /** What to send next, and the destination's first bytes once the tunnel is open. Throws when the proxy refuses. */
  receive(chunk: Buffer): { readonly send: Buffer | undefined; readonly rest: Buffer | undefined };
}

function handshakeOf(proxy: EdgeProxy, { ip, port, family }: EdgeAddress): Handshake {
  if (proxy.kind === "socks5") return new Socks5Client(ip, port, proxy.credentials);
  const destination = family === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
  const answer = new ConnectAnswer();
  return {
    start: () => connectRequest(destination, proxy.authorization),
    receive(chunk) {
      const progress = answer.receive(chunk);
      if (progress.kind === "refused") {
        const advice = progress.status === undefined ? undefined : ADVICE[progress.status];
        const why = advice === undefined ? "" : ` (${advice})`;
        throw new Error(`the proxy answered CONNECT ${destination} ${progress.how}${why}`);
      }
      return { send: undefined, rest: progress.kind === "open" ? progress.rest : undefined };
    },
  };
}

export interface ProxySocketOptions {
  readonly proxy: EdgeProxy;
  /** Of the edge. */
  readonly address: EdgeAddress;
  readonly bindAddress?: string;
  readonly signal?: AbortSignal;
  /** For all of it. */
  readonly timeoutMs: number;
}

/** Resolves with a socket whose bytes are the edge's. Rejects with DialError, or with the signal's reason. */
export function openThroughProxy(options: ProxySocketOptions): Promise<net.Socket> {
  const { address, bindAddress, proxy, signal, timeoutMs } = options;
  const where = `${proxy.host}:${proxy.port}`;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const handshake = handshakeOf(proxy, address);
    const socket = net.connect({
      host: proxy.host,
      port: proxy.port,
      ...(bindAddress === undefined ? {} : { localAddress: bindAddress }),
    });
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      socket.off("connect", connected).off("data", received).off("close", closed).off("error", failed);
    };
    const giveUp = (reason: unknown): void => {
      settle();
      socket.on("error", () => {});
      socket.destroy();
      reject(reason);
    };
    const failed = (cause: Error): void =>
      giveUp(
        new DialError("proxy", address, `can't reach the edge through the proxy at ${where}: ${cause.message}`, {
          cause,
        }),
      );
    const closed = (): void => failed(new Error("it closed the connection"));
    const late = (): void => failed(new Error(`no answer within ${timeoutMs / 1000} s`));
    const abort = (): void => giveUp(signal?.reason);
    const connected = (): void => void socket.write(handshake.start());
    const received = (chunk: Buffer): void => {
      try {
        const { rest, send } = handshake.receive(chunk);
        if (send !== undefined) socket.write(send);
        if (rest === undefined) return;
        settle();
        socket.pause();
        if (rest.length > 0) socket.unshift(rest);
        resolve(socket);
      } catch (error) {
        failed(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const timer = setTimeout(late, timeoutMs);
    signal?.addEventListener("abort", abort, { once: true });
    socket.on("connect", connected).on("data", received).on("close", closed).on("error", failed);
  });
}
