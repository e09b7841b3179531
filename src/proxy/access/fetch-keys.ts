/** The keys that a team's tokens are signed with, from its JWKS document (RFC 7517 § 5). */
import { AccessKeysError } from "./errors.ts";
import { MAX_KEYS, MAX_KEYS_BYTES, MAX_MODULUS_LENGTH, MIN_MODULUS_LENGTH } from "./limits.ts";

const ALGORITHM = "RS256";

/** By `kid`. */
export type Keys = ReadonlyMap<string, CryptoKey>;

/** Rejects with an AccessKeysError, or with the signal's reason. Goes through HTTPS_PROXY and NO_PROXY, and follows no redirect. */
export async function fetchKeys(url: URL, signal: AbortSignal): Promise<Keys> {
  // undici takes 40 to 80 ms to load, jose 30: not before the first token.
  const { Agent, EnvHttpProxyAgent, request } = await import("undici");
  signal.throwIfAborted();
  // As in Go, a proxy is never asked for this machine itself.
  const isLocal = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname);
  const dispatcher = isLocal ? new Agent() : new EnvHttpProxyAgent();
  try {
    const { body, statusCode } = await request(url, {
      dispatcher,
      signal,
      headers: { accept: "application/json", "user-agent": "underpass" },
    });
    if (statusCode !== 200) {
      const advice = statusCode >= 300 && statusCode < 500 ? "; is teamName right?" : "";
      throw new AccessKeysError(`${url.host} answered with status ${statusCode} instead of keys${advice}`);
    }
    return await importKeys(await readText(body, url), url);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AccessKeysError) throw error;
    throw new AccessKeysError(`the keys can't be fetched from ${url.host}: ${messageOf(error)}`, error);
  } finally {
    // A connection that is used once an hour is not worth keeping.
    await dispatcher.destroy();
  }
}

function messageOf(error: unknown): string {
  const nested = error instanceof AggregateError ? error.errors.find((inner) => inner instanceof Error) : error;
  return nested instanceof Error ? nested.message : String(error);
}

async function readText(body: AsyncIterable<Buffer>, url: URL): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_KEYS_BYTES)
      throw new AccessKeysError(`${url.host} answered with more than ${MAX_KEYS_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function listOf(text: string): readonly unknown[] {
  try {
    const document: unknown = JSON.parse(text);
    if (typeof document !== "object" || document === null || !("keys" in document)) return [];
    return Array.isArray(document.keys) ? document.keys : [];
  } catch {
    return [];
  }
}

/** What can verify RS256; others may stand beside them, and are not looked at. */
async function importKeys(text: string, url: URL): Promise<Keys> {
  const { importJWK } = await import("jose");
  const keys = new Map<string, CryptoKey>();
  for (const entry of listOf(text).slice(0, MAX_KEYS)) {
    if (!isSigningKey(entry) || keys.has(entry.kid)) continue;
    try {
      const key = await importJWK({ kty: "RSA", n: entry.n, e: entry.e }, ALGORITHM);
      if (!(key instanceof Uint8Array)) keys.set(entry.kid, key);
    } catch {
      // It is no key.
    }
  }
  if (keys.size === 0) throw new AccessKeysError(`${url.host} answered with no key for ${ALGORITHM}`);
  return keys;
}

function isSigningKey(entry: unknown): entry is { kid: string; n: string; e: string } {
  if (typeof entry !== "object" || entry === null) return false;
  const { alg, e, kid, kty, n, use }: Partial<Record<string, unknown>> = { ...entry };
  const fits = kty === "RSA" && (use === undefined || use === "sig") && (alg === undefined || alg === ALGORITHM);
  if (!fits || typeof kid !== "string" || kid === "" || typeof n !== "string" || typeof e !== "string") return false;
  return n.length >= MIN_MODULUS_LENGTH && n.length <= MAX_MODULUS_LENGTH;
}
