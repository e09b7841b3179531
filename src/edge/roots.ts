/** The trust anchors for the edge (wire § 3): Cloudflare's own, Node's, the system's, and what the environment adds. */
import { readFileSync, statSync } from "node:fs";
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

type Environment = Readonly<Record<string, string | undefined>>;

/** Node 22.15 and newer; it knows NODE_EXTRA_CA_CERTS and the system's store. */
type GetCACertificates = (type: "default" | "system") => string[];

/** Throws where there is no such file, or it can't be read at once, as a pipe can't. */
function readFile(path: string): string {
  if (!statSync(path).isFile()) throw new Error("it is no regular file");
  return readFileSync(path, "latin1");
}

function readable(path: string | undefined): string | undefined {
  if (path === undefined || path === "") return undefined;
  try {
    return readFile(path);
  } catch {
    return undefined;
  }
}

/** What is wrong with the file that SSL_CERT_FILE names, and that is left out. */
export function certFileProblem({ SSL_CERT_FILE: path }: Environment): string | undefined {
  if (path === undefined || path === "") return undefined;
  try {
    if (readFile(path).search(CERTIFICATE) >= 0) return undefined;
    return `SSL_CERT_FILE holds no certificate: ${path} should have some, as PEM`;
  } catch (error) {
    const reason = error instanceof Error ? ("code" in error ? String(error.code) : error.message) : String(error);
    return `SSL_CERT_FILE is left out: ${path} can't be read (${reason})`;
  }
}

function systemBundle(env: NodeJS.ProcessEnv): string | undefined {
  const named = readable(env.SSL_CERT_FILE);
  if (named !== undefined) return named;
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
export function trustAnchors(env: NodeJS.ProcessEnv): string[] {
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
  const bundle = getCACertificates === undefined || env.SSL_CERT_FILE !== undefined ? systemBundle(env) : undefined;
  if (bundle !== undefined) texts.push(bundle);
  return splitPem(texts);
}
