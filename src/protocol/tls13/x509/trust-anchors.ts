/** The authorities that are trusted, by the name that certificates call them. */
import { X509Certificate } from "node:crypto";
import { Alert, TlsAlertError } from "../errors.ts";
import { type Certificate, parseCertificate } from "./certificate.ts";

export type TrustAnchors = ReadonlyMap<string, readonly Certificate[]>;

const PEM = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----([A-Za-z\d+/=\s]*)-----END/g;

/** A name, as it is encoded, as a key. */
export const nameKey = (name: Buffer): string => name.toString("latin1");

/** Reading the system's roots costs more than a handshake. */
const known = new WeakMap<object, TrustAnchors>();

/** What can't be read is left out; there must be one. */
export function trustAnchors(roots: readonly (string | X509Certificate)[]): TrustAnchors {
  const former = known.get(roots);
  if (former !== undefined) return former;
  const anchors = new Map<string, Certificate[]>();
  for (const der of roots.flatMap(encodings)) {
    let anchor: Certificate;
    try {
      anchor = parseCertificate(der);
    } catch (error) {
      if (error instanceof TlsAlertError) continue;
      throw error;
    }
    const key = nameKey(anchor.subject);
    const same = anchors.get(key);
    if (same === undefined) anchors.set(key, [anchor]);
    else same.push(anchor);
  }
  if (anchors.size === 0) {
    throw new TlsAlertError(Alert.unknownCa, "there is no trust anchor: roots holds no certificate that can be read");
  }
  known.set(roots, anchors);
  return anchors;
}

function encodings(root: string | X509Certificate): Buffer[] {
  if (root instanceof X509Certificate) return [root.raw];
  return [...root.matchAll(PEM)].map((match) => Buffer.from(match[1] ?? "", "base64"));
}
