/** DNS over TLS (RFC 7858) to one well-known resolver: the way out where the system's resolver is broken (wire § 2.2). */
import { randomInt } from "node:crypto";
import tls, { type ConnectionOptions } from "node:tls";
import { UnderpassError } from "../errors.ts";
import { frameMessage, unframeMessage } from "../protocol/dns/framing.ts";
import { decodeResponse, type DnsRecord, encodeQuery, type RecordTypeName } from "../protocol/dns/message.ts";
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

export const CLOUDFLARE_RESOLVER: DotServer = { host: "1.1.1.1", port: 853, servername: "cloudflare-dns.com" };

/** Asks for the records of a name. Rejects with DotError when there are none, or with the signal's reason. */
export function queryOverTls(
  name: string,
  type: RecordTypeName,
  options: { signal: AbortSignal; server?: DotServer },
): Promise<DnsRecord[]> {
  const server = options.server ?? CLOUDFLARE_RESOLVER;
  const { signal } = options;
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
