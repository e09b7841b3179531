/** TLS towards an origin: what is trusted, which name is expected, and the session to resume. */
import { readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import type { OriginRequestOptions } from "../types.ts";
import { OriginError } from "./origin-errors.ts";

/** As soon as `ca` is given, Node forgets its own roots, so they are named again. */
function defaultRoots(): readonly string[] {
  // Not in Node 20's types, and not there before Node 22.15.
  const current: unknown = Reflect.get(tls, "getCACertificates");
  if (typeof current === "function") {
    const certificates: unknown = current("default");
    if (Array.isArray(certificates)) return certificates.filter((each) => typeof each === "string");
  }
  const roots = [...tls.rootCertificates];
  const extra = process.env["NODE_EXTRA_CA_CERTS"];
  if (extra !== undefined && extra !== "") {
    try {
      roots.push(readFileSync(extra, "utf8"));
    } catch {
      // Node itself has warned about an unreadable file at its start.
    }
  }
  return roots;
}

/** What an origin's certificates are checked against; shared by all names that one address is asked for. */
class OriginTrust {
  readonly #options: OriginRequestOptions;
  readonly #roots: (() => readonly string[]) | undefined;
  #context: tls.SecureContext | undefined;

  constructor(options: OriginRequestOptions, roots: (() => readonly string[]) | undefined) {
    this.#options = options;
    this.#roots = roots;
  }

  get isChecked(): boolean {
    return !this.#options.noTLSVerify;
  }

  /** Parsing some 140 roots costs 20 ms: once an origin, and only for origins that use TLS. */
  get context(): tls.SecureContext {
    this.#context ??= this.#create();
    return this.#context;
  }

  #create(): tls.SecureContext {
    const { caPool } = this.#options;
    const hasPool = caPool !== undefined && caPool !== "";
    if (!hasPool && this.#roots === undefined) return tls.createSecureContext();
    const roots = this.#roots?.() ?? defaultRoots();
    try {
      return tls.createSecureContext({ ca: hasPool ? [...roots, caPool] : [...roots] });
    } catch (error) {
      throw new OriginError("origin-tls", "tls", "the caPool is not a list of PEM certificates", error);
    }
  }
}

export class OriginTls {
  readonly #trust: OriginTrust;
  readonly #servername: string;
  #session: Buffer | undefined;

  private constructor(trust: OriginTrust, servername: string) {
    this.#trust = trust;
    this.#servername = servername;
  }

  /** @param roots PEM texts to trust in the place of Node's own; read at the first connection */
  static create(host: string, options: OriginRequestOptions, roots: (() => readonly string[]) | undefined): OriginTls {
    const { originServerName } = options;
    const isNamed = originServerName !== undefined && originServerName !== "";
    return new OriginTls(new OriginTrust(options, roots), isNamed ? originServerName : host);
  }

  /** The same for another name, with a session of its own: one that was made for another name would skip the check of this one. */
  named(servername: string): OriginTls {
    return new OriginTls(this.#trust, servername);
  }

  /** @param protocols for ALPN; none = not offered */
  connectOptions(protocols: readonly string[]): tls.ConnectionOptions {
    const servername = this.#servername;
    const options: tls.ConnectionOptions = {
      secureContext: this.#trust.context,
      rejectUnauthorized: this.#trust.isChecked,
      // RFC 6066 § 3 has no literal addresses in SNI, but the certificate must name the address all the same.
      checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(servername, certificate),
    };
    if (protocols.length > 0) options.ALPNProtocols = [...protocols];
    if (net.isIP(servername) === 0) options.servername = servername;
    if (this.#session !== undefined) options.session = this.#session;
    return options;
  }

  remember(session: Buffer): void {
    this.#session = session;
  }
}
