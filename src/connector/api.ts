/** What the life of a tunnel looks like from outside: the library's `Tunnel` and the CLI's. */
import type { LookupFunction } from "node:net";
import type { Probe } from "../health/probe.ts";
import type { TunnelState } from "../health/state.ts";
import type { EdgeProtocol, Ingress, Logger, RequestOutcome } from "../types.ts";
import type { IngressUpdate } from "./orchestrator.ts";

/** How a connection fares. */
export interface ConnectionReport {
  /** Milliseconds to the edge and back; undefined while it is not measured. */
  readonly roundTripMs: number | undefined;
  /** Milliseconds since the registration. */
  readonly ageMs: number | undefined;
  /** Requests in progress, those of a predecessor that finishes them included. */
  readonly activeStreams: number;
  /** Requests since the tunnel was started, over all connections of this index. */
  readonly requests: number;
  /** Of those, how many were broken off, by the edge or by this side. */
  readonly resets: number;
  /** How often this index has registered anew. */
  readonly reconnects: number;
  /** What last ended a connection of this index, or kept one from coming about. */
  readonly lastError: { readonly code: string | undefined; readonly message: string } | undefined;
}

export interface ConnectionInfo extends ConnectionReport {
  readonly connIndex: number;
  /** `silent`: registered, but the edge does not answer; it is about to be replaced, or given up. */
  readonly state: "connecting" | "registered" | "silent" | "unregistering" | "waiting" | "closed";
  readonly protocol: EdgeProtocol;
  /** `ip:port` of the edge, undefined before the first dial. */
  readonly edgeAddress: string | undefined;
  /** UUID that the edge gave the registration. */
  readonly connectionId: string | undefined;
  /** Edge location such as `lhr01`. */
  readonly location: string | undefined;
}

/** Why a registered tunnel does not fully work. */
export interface DegradedReport {
  readonly hostname: string;
  readonly status: number | undefined;
  readonly message: string;
}

/** The tunnel as a whole (docs/monitoring.md). */
export interface StateChange {
  readonly state: TunnelState;
  readonly previous: TunnelState;
  /** Why it is not ready; empty where it is. */
  readonly reasons: readonly string[];
}

export interface TunnelEvents {
  /** A connection has registered. */
  registered: [connection: ConnectionInfo];
  /** A registered connection ended; `error` is undefined for a clean end. */
  disconnected: [connection: ConnectionInfo, error: Error | undefined];
  /** The next attempt of a connection follows in `delayMs`. */
  retrying: [connection: ConnectionInfo, delayMs: number, error: Error];
  /** A request came back through the public hostname. */
  ready: [url: string];
  /** The public URL is known, or has changed (quick tunnels). */
  url: [url: string];
  /** The tunnel is in another state than before. */
  state: [change: StateChange];
  /** The public hostname answers, but not with 2xx, or an origin is down. */
  degraded: [report: DegradedReport];
  /** The supervisor restarts the tunnel: new connections are opened before the old ones are closed. */
  restarting: [delayMs: number, reason: Error];
  /** Other rules are in effect: of this version from Cloudflare, or of this machine, which have none (-1). */
  configuration: [version: number, source: "remote" | "local"];
  /** A request has ended. */
  request: [outcome: RequestOutcome];
  /** All is closed; `error` is the final cause where the tunnel gave up. */
  closed: [error: Error | undefined];
}

export interface Tunnel extends AsyncDisposable {
  /** Random UUID of this connector. */
  readonly connectorId: string;
  /** Canonical UUID of the tunnel; undefined until a quick tunnel has its credentials. */
  readonly tunnelId: string | undefined;
  /** Public URL, where it is known. */
  readonly url: string | undefined;
  readonly connections: readonly ConnectionInfo[];
  /** How the tunnel is now. */
  readonly state: TunnelState;
  /** Address of the metrics server, where one listens. */
  readonly metricsUrl: string | undefined;
  /** Resolves at the first registration; rejects with the final cause, or AbortError. */
  readonly registered: Promise<void>;
  /** Resolves when the tunnel has been closed; rejects with the final cause where it gave up. */
  readonly finished: Promise<void>;
  /**
   * Opens a new connection in place of this one, or of every one, and ends the old one once the new one has registered: nothing
   * is cut off. With `pause`, in milliseconds, the old one ends first and the new one comes that much later. False where there is
   * no such connection.
   */
  reconnect(connIndex?: number, options?: { pause?: number }): boolean;
  /** Drains and ends. `grace` in milliseconds (default: the configured grace period); a second call with a smaller grace hurries. Never rejects. */
  close(options?: { grace?: number }): Promise<void>;
  on<E extends keyof TunnelEvents>(event: E, listener: (...args: TunnelEvents[E]) => void): this;
  once<E extends keyof TunnelEvents>(event: E, listener: (...args: TunnelEvents[E]) => void): this;
  off<E extends keyof TunnelEvents>(event: E, listener: (...args: TunnelEvents[E]) => void): this;
}

/** A tunnel as the one who reads its configuration file has it. */
export interface LocalTunnel extends Tunnel {
  /** Cloudflare has asked connectors not to look at their network by themselves. */
  readonly skipsPrechecks: boolean;
  /** Serves other rules from now on; requests under way keep theirs. Counts what became of them. Never throws. */
  updateIngress(ingress: Ingress): IngressUpdate;
  /** Counts a configuration file that could not be read anew: the rules stay. */
  reloadFailed(): void;
}

export interface TunnelRuntime {
  /** Default: silent. */
  readonly logger?: Logger;
  /** Takes the secrets that the caller knows of out of a text, before a log line leaves this machine. */
  readonly scrub?: (text: string) => string;
  /** What is worth telling about the configuration, for the log. */
  readonly warnings?: readonly string[];
  /** Aborting closes the tunnel gracefully, with the configured grace period. */
  readonly signal?: AbortSignal;
  /** Health probe of the public hostname; default: an undici request. For tests and odd networks. */
  readonly probe?: Probe;
  /** What the health probe GETs, in place of the public hostname with the configured path. */
  readonly probeUrl?: string | URL;
  /** Resolver of the built-in probe, as `net.connect` takes it. Default: the system's. */
  readonly probeLookup?: LookupFunction;
}
