/** The tunnels that a mock edge has given out, and the host names that lead to them. */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { Secret } from "../config/secret.ts";
import { randomWords } from "./words.ts";

/** A tunnel as its owner gets it. */
export interface IssuedTunnel {
  /** Canonical UUID. */
  readonly tunnelId: string;
  readonly accountTag: string;
  /** Host names that the public listener resolves to this tunnel. */
  readonly hostnames: readonly string[];
  /** For `--token`. */
  readonly token: string;
  /** Content of a credentials file. */
  readonly credentials: string;
}

/** What the quick-tunnel service answers with. */
export interface QuickTunnelResult {
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly account_tag: string;
  readonly secret: string;
}

interface Tunnel {
  readonly tunnelId: string;
  readonly accountTag: string;
  readonly secret: Secret<Buffer>;
  readonly hostnames: string[];
}

/** Whether the credentials of a registration are those that were issued. */
export type Verdict = "valid" | "unknown-tunnel" | "wrong-account" | "wrong-secret";

/** Compares without telling how much was right. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  const digest = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** Host of a Host header: without port, lower case. */
function hostOf(authority: string): string {
  return authority.replace(/:\d*$/, "").toLowerCase();
}

export class TunnelRegistry {
  readonly #tunnels = new Map<string, Tunnel>();
  readonly #hostnames = new Map<string, string>();

  issue(hostnames: readonly string[]): IssuedTunnel {
    const tunnel = this.#create();
    for (const hostname of hostnames) this.route(hostname, tunnel.tunnelId);
    const secret = tunnel.secret.reveal().toString("base64");
    const { accountTag, tunnelId } = tunnel;
    return {
      tunnelId,
      accountTag,
      hostnames: tunnel.hostnames,
      token: Buffer.from(JSON.stringify({ a: accountTag, s: secret, t: tunnelId })).toString("base64"),
      credentials: JSON.stringify({ AccountTag: accountTag, TunnelSecret: secret, TunnelID: tunnelId, Endpoint: "" }),
    };
  }

  issueQuick(): QuickTunnelResult {
    const tunnel = this.#create();
    const name = randomWords();
    // Names below localhost lead to this machine without any DNS (RFC 6761 § 6.3).
    const hostname = `${name}.localhost`;
    this.route(hostname, tunnel.tunnelId);
    return {
      id: tunnel.tunnelId,
      name,
      hostname,
      account_tag: tunnel.accountTag,
      secret: tunnel.secret.reveal().toString("base64"),
    };
  }

  /** From now on visitors of `hostname` are sent to the tunnel. */
  route(hostname: string, tunnelId: string): void {
    const host = hostOf(hostname);
    this.#hostnames.set(host, tunnelId);
    const tunnel = this.#tunnels.get(tunnelId);
    if (tunnel !== undefined && !tunnel.hostnames.includes(host)) tunnel.hostnames.push(host);
  }

  /** The tunnel that a visitor's Host header was routed to. */
  resolve(authority: string): string | undefined {
    return this.#hostnames.get(hostOf(authority));
  }

  /** The account of a tunnel that was given out. */
  accountOf(tunnelId: string): string | undefined {
    return this.#tunnels.get(tunnelId)?.accountTag;
  }

  verify(tunnelId: string, accountTag: string, secret: Uint8Array): Verdict {
    const tunnel = this.#tunnels.get(tunnelId);
    if (tunnel === undefined) return "unknown-tunnel";
    if (tunnel.accountTag !== accountTag) return "wrong-account";
    return same(tunnel.secret.reveal(), secret) ? "valid" : "wrong-secret";
  }

  #create(): Tunnel {
    const tunnel: Tunnel = {
      tunnelId: randomUUID(),
      accountTag: randomBytes(16).toString("hex"),
      secret: new Secret(randomBytes(32)),
      hostnames: [],
    };
    this.#tunnels.set(tunnel.tunnelId, tunnel);
    return tunnel;
  }
}
