/** Dialling the edge: TCP, then TLS, each with its own time limit (wire § 3). */
import type { Socket } from "node:net";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import tls from "node:tls";
import type { EdgeAddress } from "../types.ts";
import { DialError } from "./errors.ts";
import { tlsMessage } from "./list-names.ts";
import { type EdgeProxy, openThroughProxy } from "./proxy-socket.ts";
import type { EdgeTls } from "./tls.ts";

/** cloudflared's budget for TCP, and a fresh one of the same length for the handshake. */
const DIAL_TIMEOUT_MS = 15_000;
const TCP_KEEP_ALIVE_MS = 15_000;

export interface DialOptions {
  readonly address: EdgeAddress;
  /** SNI, and the name that the certificate must carry. */
  readonly servername: string;
  readonly tls: EdgeTls;
  readonly bindAddress?: string;
  /** Through which the edge is reached. */
  readonly proxy?: EdgeProxy;
  readonly signal?: AbortSignal;
  /** For TCP, and again for the handshake. Default 15,000. */
  readonly timeoutMs?: number;
  /** Reads into one buffer instead of emitting `data`. */
  readonly onread?: { readonly buffer: Uint8Array; callback(length: number, buffer: Uint8Array): boolean };
}

/** What to do about a failure, by Node's and OpenSSL's error codes. */
const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  EHOSTUNREACH: "no route; is the network up, and does it have this address family?",
  ENETUNREACH: "no route; is the network up, and does it have this address family?",
  EADDRNOTAVAIL: "the bind address is not one of this machine's",
  EINVAL: "the bind address is of the other address family",
  ECONNRESET: "the other side hung up; does a firewall block outgoing connections to this port?",
  ETIMEDOUT: "no answer; does a firewall block outgoing TCP to this port?",
  ERR_TLS_CERT_ALTNAME_INVALID: "the certificate is for another name; does something intercept TLS here?",
  CERT_HAS_EXPIRED: "the certificate has expired; is this machine's clock right?",
  CERT_NOT_YET_VALID: "the certificate is not valid yet; is this machine's clock right?",
  DEPTH_ZERO_SELF_SIGNED_CERT:
    "the certificate is self-signed; does something intercept TLS here? --cacert names other trust anchors",
  SELF_SIGNED_CERT_IN_CHAIN:
    "the chain ends in an unknown root; does something intercept TLS here? --cacert names other trust anchors",
  ERR_SSL_WRONG_VERSION_NUMBER: "what listens there does not speak TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "what listens there does not speak TLS",
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: "no cipher or key exchange in common; does something intercept TLS here?",
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: "no version of TLS in common; does something intercept TLS here?",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "the issuer is unknown; does something intercept TLS here? --cacert names other trust anchors",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "the issuer is unknown; does something intercept TLS here? --cacert names other trust anchors",
};

/** Where a proxy stands between. */
const ADVICE_BEHIND_PROXY: typeof ADVICE = {
  ECONNRESET: "the proxy hung up; is it allowed to connect there?",
  ETIMEDOUT: "the proxy passes nothing on",
};

function describe(cause: Error, proxy: EdgeProxy | undefined): string {
  const { code } = cause as { code?: unknown };
  const advice = typeof code === "string" ? ((proxy && ADVICE_BEHIND_PROXY[code]) ?? ADVICE[code]) : undefined;
  const message = tlsMessage(cause);
  return advice === undefined ? message : `${message} (${advice})`;
}

/** Resolves with a verified TLS socket. Rejects with DialError, or with the signal's reason. */
export async function dialTls(options: DialOptions): Promise<TLSSocket> {
  const { proxy, timeoutMs = DIAL_TIMEOUT_MS } = options;
  return await secure(
    options,
    proxy === undefined ? undefined : await openThroughProxy({ ...options, proxy, timeoutMs }),
  );
}

/** @param tunnel TCP to the edge that is there already */
function secure(options: DialOptions, tunnel: Socket | undefined): Promise<TLSSocket> {
  const { address, proxy, signal } = options;
  const timeoutMs = options.timeoutMs ?? DIAL_TIMEOUT_MS;
  const host = address.family === 6 ? `[${address.ip}]` : address.ip;
  const through = proxy === undefined ? "" : ` through the proxy at ${proxy.host}:${proxy.port}`;
  const where = `${host}:${address.port}${through}`;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    let phase: "tcp" | "tls" = tunnel === undefined ? "tcp" : "tls";
    const connectOptions: ConnectionOptions & { onread?: unknown } = {
      ...(tunnel === undefined ? { host: address.ip, port: address.port } : { socket: tunnel }),
      servername: options.servername,
      secureContext: options.tls.secureContext,
      rejectUnauthorized: true,
      ...(options.bindAddress === undefined ? {} : { localAddress: options.bindAddress }),
      ...(options.onread === undefined ? {} : { onread: options.onread }),
    };
    const socket = tls.connect(connectOptions);
    // Node reads into a buffer of ours only from a socket of its own.
    const { onread } = options;
    if (tunnel !== undefined && onread !== undefined) {
      socket.on("data", (chunk: Buffer) => onread.callback(chunk.length, chunk));
    }
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      socket.off("connect", connected).off("secureConnect", secured).off("close", closed).off("error", failed);
    };
    const giveUp = (reason: unknown): void => {
      settle();
      // What the dying socket still has to say is of no interest.
      socket.on("error", () => {});
      socket.destroy();
      reject(reason);
    };
    const failed = (cause: Error): void => {
      const what = phase === "tcp" ? "can't connect to the edge at" : "TLS handshake failed with the edge at";
      giveUp(new DialError(phase, address, `${what} ${where}: ${describe(cause, proxy)}`, { cause }));
    };
    const closed = (): void => failed(Object.assign(new Error("the connection was closed"), { code: "ECONNRESET" }));
    const late = (): void =>
      failed(Object.assign(new Error(`no answer within ${timeoutMs / 1000} s`), { code: "ETIMEDOUT" }));
    const abort = (): void => giveUp(signal?.reason);
    const connected = (): void => {
      phase = "tls";
      clearTimeout(timer);
      timer = setTimeout(late, timeoutMs);
    };
    const secured = (): void => {
      settle();
      socket.setNoDelay(true);
      socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
      resolve(socket);
    };
    let timer = setTimeout(late, timeoutMs);
    signal?.addEventListener("abort", abort, { once: true });
    socket.on("connect", connected).on("secureConnect", secured).on("close", closed).on("error", failed);
  });
}
