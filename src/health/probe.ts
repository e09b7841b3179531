/** One GET on the public hostname, from outside, as a visitor's would be. */
import type { LookupFunction } from "node:net";
import type { ServiceToken } from "../config/tunnel-config.ts";

export interface ProbeReply {
  readonly status: number;
  /** Beginning of the answer's body. */
  readonly body: string;
  /** Where it redirects to. */
  readonly location?: string | undefined;
  /** Where there is a service token: whether it went along. */
  readonly serviceToken?: TokenUse | undefined;
}

/** A service token is withheld where it would go over a network in clear text. */
export type TokenUse = "sent" | "withheld";

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
    const { serviceToken } = options;
    const use = serviceToken === undefined ? undefined : useOf(url, isLocal);
    const dispatcher = isLocal ? new Agent(resolver) : new EnvHttpProxyAgent(resolver);
    try {
      const { body, headers, statusCode } = await request(url, {
        dispatcher,
        signal,
        headers: {
          "user-agent": options.userAgent,
          accept: "text/html, */*;q=0.5",
          "cache-control": "no-cache",
          ...(serviceToken === undefined || use !== "sent" ? {} : accessHeaders(serviceToken)),
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
        serviceToken: use,
      };
    } finally {
      // A fresh connection each time: a kept one would not show that new visitors get through.
      await dispatcher.destroy();
    }
  };
}

function useOf({ protocol }: URL, isLocal: boolean): TokenUse {
  return protocol === "https:" || isLocal ? "sent" : "withheld";
}

function accessHeaders({ clientId, clientSecret }: ServiceToken): Record<string, string> {
  return { "cf-access-client-id": clientId, "cf-access-client-secret": clientSecret.reveal() };
}
