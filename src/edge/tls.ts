/** TLS towards the edge (wire § 3): 1.3, or 1.2 with AEAD suites; no ALPN, no client certificate, no resumption. */
import { X509Certificate } from "node:crypto";
import tls, { type SecureContext } from "node:tls";
import { EdgeTlsError } from "./errors.ts";
import { splitPem, trustAnchors } from "./roots.ts";

export interface EdgeTlsOptions {
  /** PEM text that replaces every trust anchor. */
  readonly cacert?: string | undefined;
  /** Offer only post-quantum key exchange. */
  readonly postQuantum: boolean;
}

/** Ready for `dialTls`; one SecureContext for all connections with the same options. */
export interface EdgeTls {
  readonly secureContext: SecureContext;
  /** Key-exchange groups offered, in OpenSSL's notation. */
  readonly groups: string;
}

/** HTTP/2 forbids the others of TLS 1.2 (RFC 9113 § 9.2.2); the first three are TLS 1.3's. */
const CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

const HYBRID_GROUP = "X25519MLKEM768";
const CLASSICAL_GROUPS = "P-256:X25519";

/** One group that OpenSSL does not know makes the whole list throw, so it is asked once. */
let hybridKnown: boolean | undefined;

/** Whether HTTP/2's TLS has X25519MLKEM768 on this Node.js. */
export function hasPostQuantumTls(): boolean {
  if (hybridKnown === undefined) {
    try {
      tls.createSecureContext({ ecdhCurve: HYBRID_GROUP });
      hybridKnown = true;
    } catch {
      hybridKnown = false;
    }
  }
  return hybridKnown;
}

function keyExchangeGroups(postQuantum: boolean): string {
  if (!hasPostQuantumTls()) {
    if (postQuantum) {
      throw new EdgeTlsError(
        `post-quantum: this Node.js (${process.version}) has no ${HYBRID_GROUP} key exchange; Node.js 24 has it, or leave post-quantum off`,
      );
    }
    return CLASSICAL_GROUPS;
  }
  return postQuantum ? HYBRID_GROUP : `${HYBRID_GROUP}:${CLASSICAL_GROUPS}`;
}

/** Throws EdgeTlsError where `cacert` is not what it should be: one or more certificates as PEM. */
export function assertTrust(cacert: string | undefined): void {
  if (cacert !== undefined) readCacert(cacert);
}

function readCacert(cacert: string): string[] {
  const certificates = splitPem([cacert]);
  if (certificates.length === 0) {
    throw new EdgeTlsError(
      "cacert: no PEM certificate was found in it; one or more BEGIN CERTIFICATE blocks would be right",
    );
  }
  for (const certificate of certificates) {
    try {
      void new X509Certificate(certificate);
    } catch (cause) {
      throw new EdgeTlsError("cacert: one of its certificates can't be read; is the file whole?", { cause });
    }
  }
  return certificates;
}

/** Contexts by their options: parsing some 150 roots costs 20 ms. */
const contexts = new Map<string, EdgeTls>();
const MAX_CONTEXTS = 8;

/** The TLS settings for the edge. Throws EdgeTlsError for a bad `cacert`, or `postQuantum` on a Node.js without it. */
export function createEdgeTls(options: EdgeTlsOptions, env: NodeJS.ProcessEnv = process.env): EdgeTls {
  const key = JSON.stringify([options.cacert, options.postQuantum, env.NODE_EXTRA_CA_CERTS, env.SSL_CERT_FILE]);
  const known = contexts.get(key);
  if (known !== undefined) return known;
  const groups = keyExchangeGroups(options.postQuantum);
  const ca = options.cacert === undefined ? trustAnchors(env) : readCacert(options.cacert);
  const secureContext = tls.createSecureContext({ ca, ciphers: CIPHERS, ecdhCurve: groups, minVersion: "TLSv1.2" });
  if (contexts.size >= MAX_CONTEXTS) contexts.clear();
  const edgeTls = { secureContext, groups };
  contexts.set(key, edgeTls);
  return edgeTls;
}
