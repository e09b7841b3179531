/** What `underpass check` looks at, one row each. */
import type { EdgeIpVersion, ProtocolChoice } from "../../../config/tunnel-config.ts";
import type { Resolvers, SrvRecord } from "../../../edge/resolvers.ts";
import type { Environment, OriginProxy } from "../../../proxy/environment-proxy.ts";
import type { EdgeAddress, IngressRule } from "../../../types.ts";

export type HostAddress = Awaited<ReturnType<Resolvers["addresses"]>>[number];

/** `warning`: not as it should be, but a tunnel works; `skipped`: not needed here, or nothing to look at. */
export type CheckStatus = "ok" | "warning" | "failed" | "skipped";

export type CheckComponent =
  | "Configuration"
  | "Token"
  | "Clock"
  | "DNS"
  | "UDP"
  | "TCP"
  | "Proxy"
  | "API"
  | "Quick tunnels"
  | "Origin";

export interface CheckResult {
  /** Stable: `tcp.region1.ipv4`. */
  readonly id: string;
  readonly component: CheckComponent;
  /** What was looked at. */
  readonly target: string;
  readonly status: CheckStatus;
  /** What was found; the cause, where it is not as it should be. */
  readonly details: string;
  /** What to do, where something can be done. */
  readonly action: string | undefined;
  /** Stable code of the error, listed in docs/errors.md. */
  readonly code: string | undefined;
  readonly milliseconds: number;
}

/** What a row found. What throws has failed. */
export interface Outcome {
  readonly status: CheckStatus;
  readonly details: string;
  readonly action?: string | undefined;
  /** Stable code of the error. */
  readonly code?: string | undefined;
}

/** An answer of a web server. Times as `Date.now()` has them. */
export interface WebAnswer {
  readonly status: number;
  /** The server's clock, from its Date header. */
  readonly date: number | undefined;
  readonly sentAt: number;
  readonly receivedAt: number;
}

/** Everything that the checks reach by the network; tests bring their own. */
export interface CheckPeers {
  /** Addresses by the system's resolver, in its order. */
  addresses(host: string, signal: AbortSignal): Promise<readonly HostAddress[]>;
  srv(name: string, signal: AbortSignal): Promise<readonly SrvRecord[]>;
  srvOverTls(name: string, signal: AbortSignal): Promise<readonly SrvRecord[]>;
  addressesOverTls(host: string, signal: AbortSignal): Promise<readonly HostAddress[]>;
  /** TCP and TLS as the HTTP/2 transport has them, each in DIAL_MS, verified; resolves with what was agreed on. */
  dialTcp(address: EdgeAddress, signal: AbortSignal): Promise<string>;
  /** The same through the proxy that HTTPS_PROXY names, as a tunnel does where there is no direct way; undefined where none is. */
  dialByEnvironment(address: EdgeAddress): ((signal: AbortSignal) => Promise<string>) | undefined;
  /** The QUIC handshake, verified. */
  dialQuic(address: EdgeAddress, signal: AbortSignal): Promise<string>;
  /** One GET, through the environment's proxy. Whatever is answered counts. */
  ask(url: URL, signal: AbortSignal): Promise<WebAnswer>;
  /** CONNECT by way of the proxy; resolves when it is through. */
  throughProxy(proxy: OriginProxy, host: string, port: number, signal: AbortSignal): Promise<void>;
  /** Connects to a rule's origin as the tunnel would; resolves with what it answered. */
  origin(target: OriginToCheck, signal: AbortSignal): Promise<Outcome>;
}

/** One address that requests go to. */
export interface OriginToCheck {
  /** As cloudflared writes services. */
  readonly service: string;
  readonly rule: IngressRule;
  /** Which one of a rule that has several. */
  readonly index: number;
}

/** What to look at. */
export interface CheckPlan {
  readonly protocol: ProtocolChoice;
  /** `host:port` entries that replace discovery. */
  readonly edge: readonly string[];
  readonly region: string | undefined;
  readonly edgeIpVersion: EdgeIpVersion;
  /** Base URL of Cloudflare's API. */
  readonly api: URL;
  /** The service that hands out quick tunnels; undefined where none is to be had. */
  readonly quickService: URL | undefined;
  /** Without a quick tunnel there is none at all. */
  readonly needsQuickService: boolean;
  readonly origins: readonly OriginToCheck[];
  readonly environment: Environment;
}
