/** The certificates that a mock edge can show. */
import type { Authority, Leaf } from "./ca.ts";

export type CertificateKind =
  /** Signed by the edge's own authority, for the names that connectors expect (wire § 3). */
  | "valid"
  | "expired"
  /** For another name. */
  | "wrong-name"
  /** Signed by an authority that nobody was told of. */
  | "untrusted";

export const EDGE_NAMES = ["h2.cftunnel.com", "quic.cftunnel.com", "probe.cftunnel.com"] as const;

const DAY_MS = 24 * 60 * 60 * 1000;

export function certificate(kind: CertificateKind, authority: Authority, stranger: () => Authority): Leaf {
  switch (kind) {
    case "valid":
      return authority.issue({ dnsNames: EDGE_NAMES });
    case "expired": {
      const yesterday = new Date(Date.now() - DAY_MS);
      return authority.issue({
        dnsNames: EDGE_NAMES,
        notBefore: new Date(yesterday.getTime() - DAY_MS),
        notAfter: yesterday,
      });
    }
    case "wrong-name":
      return authority.issue({ dnsNames: ["wrong-name.invalid"] });
    default:
      return stranger().issue({ dnsNames: EDGE_NAMES });
  }
}
