/** One GET on the public hostname, from outside, as a visitor's would be. */
import type { LookupFunction } from "node:net";
import type { ServiceToken } from "../config/tunnel-config.ts";

export interface ProbeReply {
  readonly status: number;
  /** Beginning of the answer's body. */
  readonly body: string;
  /** Where it redirects to. */
  readonly location?: string | undefined;
}

/** Rejects when no answer came. */
export type Probe = (url: URL, signal: AbortSignal) => Promise<ProbeReply>;

/** An error page of the edge is known by its first lines. */
const MAX_BODY_BYTES = 16_384;

export interface ProbeOptions {
  readonly userAgent: string;
  /** Replaces the system's resolver, where no proxy does the look-up. */
  readonly lookup?: LookupFunction;
  /** Lets the probe pass Cloudflare Access. */
  readonly serviceToken?: ServiceToken | undefined;
}

/** A probe that goes through HTTP_PROXY, HTTPS_PROXY and NO_PROXY as undici understands them, and follows no redirect. */
export function createProbe(options: ProbeOptions): Probe {
  return async (url, signal) => {
    // undici takes 40 to 80 ms to load: not before the first probe.
    const { Agent, EnvHttpProxyAgent, request } = await import("undici");
    const resolver = options.lookup === undefined ? {} : { connect: { lookup: options.lookup } };
    // As in Go, a proxy is never asked for this machine itself.
    const isLocal = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname);
    const dispatcher = isLocal ? new Agent(resolver) : new EnvHttpProxyAgent(resolver);
    try {
      const { body, headers, statusCode } = await request(url, {
        dispatcher,
        signal,
        headers: {
          "user-agent": options.userAgent,
          accept: "text/html, */*;q=0.5",
          "cache-control": "no-cache",
          ...accessHeaders(options.serviceToken, url, isLocal),
        },
      });
      let text = "";
      for await (const chunk of body) {
        text += String(chunk);
        if (text.length >= MAX_BODY_BYTES) break;
      }
      const { location } = headers;
      return {
        status: statusCode,
        body: text.slice(0, MAX_BODY_BYTES),
        location: typeof location === "string" ? location : undefined,
      };
    } finally {
      // A fresh connection each time: a kept one would not show that new visitors get through.
      await dispatcher.destroy();
    }
  };
}

/** Never in clear text over a network. */
function accessHeaders(token: ServiceToken | undefined, url: URL, isLocal: boolean): Record<string, string> {
  if (token === undefined || (url.protocol !== "https:" && !isLocal)) return {};
  return { "cf-access-client-id": token.clientId, "cf-access-client-secret": token.clientSecret.reveal() };
}
