/** TLS of the QUIC transport (wire § 3): the same trust anchors and key exchange as on HTTP/2, always version 1.3. */
import { loadMlKem } from "../protocol/tls13/ml-kem.ts";
import type { TlsClientOptions } from "../protocol/tls13/session.ts";
import { EdgeTlsError } from "./errors.ts";
import { splitPem, trustAnchors } from "./roots.ts";

/** Ready for `dialQuic`; one for all connections with the same options. */
export type QuicTls = Pick<TlsClientOptions, "roots" | "groups" | "mlKem">;

export interface QuicTlsOptions {
  /** PEM text that replaces every trust anchor. */
  readonly cacert?: string | undefined;
  /** Offer only post-quantum key exchange. */
  readonly postQuantum: boolean;
}

/** Rejects with EdgeTlsError for a `cacert` without certificates, and for `postQuantum` where this Node.js can't. */
export async function createQuicTls(options: QuicTlsOptions, env: NodeJS.ProcessEnv = process.env): Promise<QuicTls> {
  const roots = options.cacert === undefined ? trustAnchors(env) : splitPem([options.cacert]);
  if (roots.length === 0) {
    throw new EdgeTlsError(
      "cacert: no PEM certificate was found in it; one or more BEGIN CERTIFICATE blocks would be right",
    );
  }
  const mlKem = await loadMlKem();
  if (options.postQuantum && mlKem === undefined) {
    throw new EdgeTlsError(
      `post-quantum: neither this Node.js (${process.version}) nor the package @noble/post-quantum has X25519MLKEM768; install it, or leave post-quantum off`,
    );
  }
  return { roots, groups: options.postQuantum ? ["X25519MLKEM768"] : ["X25519MLKEM768", "P-256", "X25519"], mlKem };
}
