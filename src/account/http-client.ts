/** Requests to Cloudflare's services: through the proxy that the environment names, with a bound on the answer. */

/** A good answer has some 400 bytes; the page of a rate limit a few thousand. */
export const MAX_ANSWER_BYTES = 65_536;

/** undici takes 40 to 80 ms to load; only a quick tunnel pays for it. */
export async function openClient(url: URL): Promise<{ readonly send: typeof fetch; readonly end: () => void }> {
  const { fetch: send, Agent, EnvHttpProxyAgent } = await import("undici");
  // As in Go, a proxy is never asked for this machine itself.
  const isLocal = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname);
  const dispatcher = isLocal ? new Agent() : new EnvHttpProxyAgent();
  return {
    // undici's types of fetch and Node's differ in detail, not in what is used here.
    send: ((input: URL, init: object) => send(input, { ...init, dispatcher })) as unknown as typeof fetch,
    end: () => {
      dispatcher.destroy().catch(() => {});
    },
  };
}

/** Undefined where the answer is longer than any that means something. */
export async function readBody(response: Response): Promise<string | undefined> {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks).toString("utf8");
    length += value.byteLength;
    if (length > MAX_ANSWER_BYTES) {
      await reader.cancel();
      return undefined;
    }
    chunks.push(value);
  }
}

/** What a request failed with, in words. */
export function reasonOf(error: unknown): string {
  // fetch says "fetch failed"; the cause says why.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  const nested = cause instanceof AggregateError ? cause.errors.find((inner) => inner instanceof Error) : undefined;
  return nested instanceof Error ? nested.message : cause.message || cause.name;
}
