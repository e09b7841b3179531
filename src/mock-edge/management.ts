/**
 * The entrance for Cloudflare's dashboard and `tail`: HTTPS, with an access token that this edge has signed. It leads to the tunnel
 * that the token names, and to the connector that `connector_id` names.
 */
import { generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { Duplex } from "node:stream";
import type { Authority } from "./ca.ts";
import type { Connection } from "./connection.ts";
import { createPublicListener, type PublicListenerOptions } from "./public-listener.ts";
import type { Router } from "./router.ts";

/** What connectors take for themselves, of whatever name the entrance was asked by. */
const MANAGEMENT_HOST = "management.argotunnel.com";

export interface ManagementTokenOptions {
  /** Who asks; default `mock-edge`. */
  readonly actor?: string;
  /** Default 3,600; negative = it has expired. */
  readonly expiresInSeconds?: number;
}

const MAX_HEADER_BYTES = 64 * 1024;
/** JWS wants r and s, not DER (RFC 7518 § 3.4). */
const dsaEncoding = "ieee-p1363";

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function queryOf(target: string): URLSearchParams {
  const at = target.indexOf("?");
  return new URLSearchParams(at < 0 ? "" : target.slice(at + 1));
}

/** Tokens of one edge. */
export class ManagementTokens {
  readonly #keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
  });

  issue(tunnelId: string, accountTag: string, options: ManagementTokenOptions): string {
    const { actor = "mock-edge", expiresInSeconds = 3600 } = options;
    const now = Math.floor(Date.now() / 1000);
    const signed = `${encode({ alg: "ES256", typ: "JWT" })}.${encode({
      tun: { id: tunnelId, account_tag: accountTag },
      actor: { id: actor, support: false },
      iss: "tunnelstore",
      iat: now,
      exp: now + expiresInSeconds,
    })}`;
    const signature = sign("sha256", Buffer.from(signed), { key: this.#keys.privateKey, dsaEncoding });
    return `${signed}.${signature.toString("base64url")}`;
  }

  /** The tunnel of a token that this edge has signed. */
  tunnelOf(token: string): string | undefined {
    const [header = "", payload = "", signature = ""] = token.split(".");
    const key = { key: this.#keys.publicKey, dsaEncoding } as const;
    if (!verify("sha256", Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, "base64url")))
      return undefined;
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { tun: { id: string } };
    return claims.tun.id;
  }
}

/** Which connection a request of the entrance goes to. */
function routeManagement(router: Router, tokens: ManagementTokens, target: string): Connection | undefined {
  const query = queryOf(target);
  const tunnelId = tokens.tunnelOf(query.get("access_token") ?? "");
  return tunnelId === undefined ? undefined : router.pick(tunnelId, query.get("connector_id") ?? undefined);
}

/** An HTTPS server in front of one that passes visitors on; requests without a good token end here. */
export function createEntrance(
  router: Router,
  tokens: ManagementTokens,
  authority: Authority,
  options: Pick<PublicListenerOptions, "location" | "onVisit" | "logger">,
): Server {
  const visitors = createPublicListener({
    ...options,
    authority: MANAGEMENT_HOST,
    scheme: "https",
    route: (_authority, target) => routeManagement(router, tokens, target),
  });
  const leaf = authority.issue({ dnsNames: ["localhost", MANAGEMENT_HOST] });
  const server = createServer({ key: leaf.keyPem, cert: leaf.certPem, maxHeaderSize: MAX_HEADER_BYTES });
  const isGood = ({ url = "/" }: IncomingMessage): boolean =>
    tokens.tunnelOf(queryOf(url).get("access_token") ?? "") !== undefined;
  const refusal = JSON.stringify({ success: false, errors: [{ code: 10000, message: "Authentication error" }] });
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    if (isGood(request)) visitors.emit("request", request, response);
    else response.writeHead(403, { "content-type": "application/json" }).end(refusal);
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => {});
    if (isGood(request)) visitors.emit("upgrade", request, socket, head);
    else {
      const fields = `Content-Type: application/json\r\nContent-Length: ${refusal.length}\r\nConnection: close`;
      socket.end(`HTTP/1.1 403 Forbidden\r\n${fields}\r\n\r\n${refusal}`);
    }
  });
  return server;
}
