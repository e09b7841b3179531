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

export class OriginTls {
  readonly #servername: string;
  readonly #options: OriginRequestOptions;
  readonly #roots: (() => readonly string[]) | undefined;
  #context: tls.SecureContext | undefined;
  #session: Buffer | undefined;

  /** @param roots PEM texts to trust in the place of Node's own; read at the first connection */
  constructor(host: string, options: OriginRequestOptions, roots: (() => readonly string[]) | undefined) {
    const { originServerName } = options;
    this.#servername = originServerName === undefined || originServerName === "" ? host : originServerName;
    this.#options = options;
    this.#roots = roots;
  }

  connectOptions(): tls.ConnectionOptions {
    // Parsing some 140 roots costs 20 ms: once an origin, and only for origins that use TLS.
    this.#context ??= this.#createContext();
    const servername = this.#servername;
    const options: tls.ConnectionOptions = {
      secureContext: this.#context,
      rejectUnauthorized: !this.#options.noTLSVerify,
      // RFC 6066 § 3 has no literal addresses in SNI, but the certificate must name the address all the same.
      checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(servername, certificate),
    };
    if (net.isIP(servername) === 0) options.servername = servername;
    if (this.#session !== undefined) options.session = this.#session;
    return options;
  }

  remember(session: Buffer): void {
    this.#session = session;
  }

  #createContext(): tls.SecureContext {
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
