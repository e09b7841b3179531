/** What a tunnel is put together from. tunnel.ts names the real parts; tests name others. */
import type { TunnelCredentials } from "../config/tunnel-config.ts";
import type { OriginReading } from "../health/monitor.ts";
import type { Probe } from "../health/probe.ts";
import type { MemoryBudget } from "../protocol/memory-budget/budget.ts";
import type { Proxy, ProxyOptions } from "../proxy/proxy.ts";
import type { RegistrationClient } from "../rpc/registration-client.ts";
import type { ByteChannel, EdgeAddress, EdgeConnection, EdgeProtocol, IngressRule, Logger } from "../types.ts";
import type { EdgeRecords } from "./edge-records.ts";
import type { ManagedTunnel, TunnelManagement } from "./management.ts";
import type { Interfaces } from "./network-watch.ts";
import type { DialAttempt, ProtocolDialer } from "./protocol-dialer.ts";

/** Why a connection wants another address than the one it has (wire § 2.6). */
export type Rotation =
  /** It could not be reached: a connectivity error. */
  | "unreachable"
  /** The edge behind it has a connection of this connector already: another region is best. */
  | "duplicate"
  /** The edge stopped answering: another region is best. */
  | "silent"
  /** A second connection is opened beside the one that serves. */
  | "replacement";

/** Where the addresses of the edge come from. */
export interface AddressSource {
  /**
   * The address that the connection keeps, or a free one. Discovers the edge first where that has not succeeded yet;
   * rejects when it fails, or when there is no address at all.
   */
  assign(connIndex: number, signal: AbortSignal): Promise<EdgeAddress>;
  /** Lets the next `assign` give another address; where there is no other it gives the same one again. */
  rotate(connIndex: number, why: Rotation): void;
  /** A connection has registered at an address that this gave. */
  registered?(): void;
  /** This machine's network may be another one by now: what was found out about addresses need not hold any more. */
  networkChanged?(): void;
  /** Called when there is room for more connections than before. Set once, by whoever opens them. */
  onMore?: () => void;
  /** Ends what goes on beside the connections. */
  close?(): void;
  /** How many connections there are addresses for; 0 before the edge was discovered. */
  readonly size: number;
}

export type CredentialsResult =
  | { readonly kind: "credentials"; readonly credentials: TunnelCredentials }
  | {
      readonly kind: "unavailable";
      readonly error: Error;
      /** What the service asked to wait; 0 = nothing. */
      readonly retryAfterMs: number;
      /** Asking again is of no use: the tunnel ends. */
      readonly final: boolean;
    };

export type Refusal = "for-good" | "often";

/** Which tunnel the connections register for. A quick tunnel gets its credentials when they are first asked for. */
export interface IdentitySource {
  /** Never rejects. */
  credentials(signal: AbortSignal): Promise<CredentialsResult>;
  readonly tunnelId: string | undefined;
  /** Public URL, where it is known. */
  readonly url: string | undefined;
  /** Whether others can be asked for when the edge refuses the first ones for good. */
  readonly replaceable: boolean;
  /** The edge has taken the credentials: from now on the tunnel ends for nothing. */
  registered(): void;
  /** The edge refused the credentials: it said that a retry is of no use, or has said no as often as may be retried. */
  refused(how: Refusal): void;
}

/** A dial for a connection that will announce these features. */
export interface FeaturedDial extends DialAttempt {
  readonly features: readonly string[];
}

export interface ConnectorParts {
  /** Opens a transport connection; rejects when the edge can't be reached. */
  dial(attempt: FeaturedDial): Promise<EdgeConnection>;
  /** What `dial` tries first. */
  readonly initialProtocol: EdgeProtocol;
  createRegistrationClient(channel: ByteChannel): RegistrationClient;
  readonly addresses: AddressSource;
  readonly identity: IdentitySource;
  /** In [0, 1). */
  random(): number;
}

/** All that a tunnel is made of. */
export interface TunnelParts extends Omit<ConnectorParts, "identity"> {
  readonly version: string;
  readonly logger: Logger;
  readonly probe: Probe;
  /** Looks at the rules' origins. Never rejects. */
  readonly probeOrigins?: (rules: readonly IngressRule[], signal: AbortSignal) => Promise<readonly OriginReading[]>;
  /** What streams hold. */
  readonly memory?: MemoryBudget;
  /** Where connections may take QUIC or HTTP/2. */
  readonly protocolChoice: ProtocolDialer | undefined;
  /** What Cloudflare's TXT records say, where they are about the edge that is used. */
  readonly records?: EdgeRecords | undefined;
  /** Default: this machine's. */
  readonly networkInterfaces?: () => Interfaces;
  /** `announce` is called with each public hostname that a quick tunnel gets. */
  createIdentity(announce: (hostname: string) => void): IdentitySource;
  createProxy(options: Pick<ProxyOptions, "connectorId" | "observer" | "logger" | "internal">): Proxy;
  /** What Cloudflare's dashboard and `tail` ask, where it is wanted. */
  createManagement?(tunnel: ManagedTunnel): TunnelManagement | undefined;
}
