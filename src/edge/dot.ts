/** DNS over TLS (RFC 7858) to a well-known resolver: the way out where the system's resolver is broken (wire § 2.2). */
import { randomInt } from "node:crypto";
import tls, { type ConnectionOptions } from "node:tls";
import { UnderpassError } from "../errors.ts";
import { frameMessage, unframeMessage } from "../protocol/dns/framing.ts";
import { decodeResponse, type DnsRecord, encodeQuery, type RecordTypeName } from "../protocol/dns/message.ts";
import { firstAnswer } from "./first-answer.ts";
import { tlsMessage } from "./list-names.ts";

/** A query over TLS failed. */
export class DotError extends UnderpassError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_DNS_OVER_TLS", message, options);
  }
}

export interface DotServer {
  readonly host: string;
  readonly port: number;
  readonly servername: string;
  /** Trust anchors, for tests; default: Node's. */
  readonly ca?: string;
}

/** The same resolver for networks with IPv4, and for those that have IPv6 alone. */
const CLOUDFLARE_RESOLVERS: readonly DotServer[] = ["1.1.1.1", "2606:4700:4700::1111"].map((host) => ({
  host,
  port: 853,
  servername: "cloudflare-dns.com",
}));
/** A handshake takes less on most networks. */
const HEAD_START_MS = 2_000;

/** Asks Cloudflare's resolver. Rejects with DotError, that of IPv4, or with the signal's reason. */
export async function queryCloudflare(
  name: string,
  type: RecordTypeName,
  signal: AbortSignal,
  servers: readonly DotServer[] = CLOUDFLARE_RESOLVERS,
): Promise<DnsRecord[]> {
  try {
    const asks = servers.map(
      (server) => (limited: AbortSignal) => queryOverTls(name, type, { signal: limited, server }),
    );
    return await firstAnswer(asks, HEAD_START_MS, signal);
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
}

/** Asks for the records of a name. Rejects with DotError when there are none, or with the signal's reason. */
export function queryOverTls(
  name: string,
  type: RecordTypeName,
  options: { signal: AbortSignal; server: DotServer },
): Promise<DnsRecord[]> {
  const { server, signal } = options;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const id = randomInt(0x1_0000);
    const connectOptions: ConnectionOptions = {
      host: server.host,
      port: server.port,
      servername: server.servername,
      // Whatever NODE_TLS_REJECT_UNAUTHORIZED says: who could forge this answer could choose whom the tunnel dials.
      rejectUnauthorized: true,
      ...(server.ca === undefined ? {} : { ca: server.ca }),
    };
    const socket = tls.connect(connectOptions);
    let received = Buffer.alloc(0);
    const settle = (finish: () => void): void => {
      signal.removeEventListener("abort", abort);
      socket.off("close", closed);
      socket.destroy();
      finish();
    };
    const fail = (message: string, cause?: unknown): void =>
      settle(() => reject(new DotError(`DNS over TLS to ${server.host}:${server.port}: ${message}`, { cause })));
    const abort = (): void => settle(() => reject(signal.reason));
    const closed = (): void => fail("the connection was closed before an answer came");
    signal.addEventListener("abort", abort, { once: true });
    socket.on("close", closed);
    socket.on("error", (error) => fail(tlsMessage(error), error));
    socket.on("secureConnect", () => socket.write(frameMessage(encodeQuery(id, name, type))));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const message = unframeMessage(received);
      if (message === undefined) return;
      try {
        const response = decodeResponse(message);
        const answers = response.answers.filter((record) => record.type === type);
        if (response.id !== id) fail("an answer to another query came");
        else if (response.responseCode !== 0) fail(`${type} ${name} was refused with code ${response.responseCode}`);
        else if (answers.length === 0) fail(`there is no ${type} record of ${name}`);
        else settle(() => resolve(answers));
      } catch (error) {
        fail(error instanceof Error ? error.message : "an unreadable answer came", error);
      }
    });
  });
}
