/** The trust anchors for the edge (wire § 3): Cloudflare's own, Node's, the system's, and what the environment adds. */
import { readFileSync } from "node:fs";
import tls from "node:tls";
import { CLOUDFLARE_ROOTS } from "./cloudflare-roots.ts";

/** Where distributions keep their bundle; the first that exists is read. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Node 22.15 and newer; it knows NODE_EXTRA_CA_CERTS and the system's store. */
type GetCACertificates = (type: "default" | "system") => string[];

/** Told what is wrong with a file that the environment names, and that is left out. */
type Tell = (problem: string) => void;

function readable(path: string | undefined, tell?: (code: string) => void): string | undefined {
  if (path === undefined || path === "") return undefined;
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    tell?.(error instanceof Error && "code" in error ? String(error.code) : String(error));
    return undefined;
  }
}

function systemBundle(env: NodeJS.ProcessEnv, tell: Tell): string | undefined {
  const path = env.SSL_CERT_FILE;
  const named = readable(path, (code) => tell(`SSL_CERT_FILE is left out: ${path} can't be read (${code})`));
  if (named !== undefined) {
    if (splitPem([named]).length === 0) tell(`SSL_CERT_FILE holds no certificate: ${path} should have some, as PEM`);
    return named;
  }
  for (const path of SYSTEM_BUNDLES) {
    const bundle = readable(path);
    if (bundle !== undefined) return bundle;
  }
  return undefined;
}

/** The certificates of a PEM text, each once, whatever its line breaks. */
export function splitPem(texts: readonly string[]): string[] {
  const byContent = new Map<string, string>();
  for (const text of texts) {
    for (const [certificate] of text.matchAll(CERTIFICATE)) {
      const key = certificate.replaceAll(/\s/g, "");
      if (!byContent.has(key)) byContent.set(key, certificate);
    }
  }
  return [...byContent.values()];
}

/** Every trust anchor for the edge, as PEM. */
export function trustAnchors(env: NodeJS.ProcessEnv, tell: Tell = () => {}): string[] {
  const getCACertificates = (tls as { getCACertificates?: GetCACertificates }).getCACertificates;
  const texts = [CLOUDFLARE_ROOTS];
  if (getCACertificates !== undefined) {
    texts.push(...getCACertificates("default"), ...getCACertificates("system"));
  } else {
    texts.push(...tls.rootCertificates);
    // Node drops NODE_EXTRA_CA_CERTS silently as soon as `ca` is given.
    const extra = readable(env.NODE_EXTRA_CA_CERTS);
    if (extra !== undefined) texts.push(extra);
  }
  const bundle =
    getCACertificates === undefined || env.SSL_CERT_FILE !== undefined ? systemBundle(env, tell) : undefined;
  if (bundle !== undefined) texts.push(bundle);
  return splitPem(texts);
}
