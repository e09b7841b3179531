/** What a mock edge offers to tests and programs. */
import type { EdgeProtocol, Logger } from "../types.ts";
import type { CertificateKind } from "./certificates.ts";
import type { StreamRequest } from "./carrier.ts";
import type { Connection } from "./connection.ts";
import type { Fault, FaultScope } from "./faults.ts";
import type { ManagementTokenOptions } from "./management.ts";
import type { PingAnswer, PingOptions } from "./ping.ts";
import type { UdpSessionOptions } from "./private-network.ts";
import type { QuickFault } from "./quick-service.ts";
import type { Registration } from "./registration.ts";
import type { IssuedTunnel } from "./tunnels.ts";
import type { UdpSession } from "./udp-session.ts";
import type { PushResult } from "./visits.ts";
import type { VisitorStream } from "./visitor-stream.ts";

export interface MockEdgeOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Where connectors dial, all on one port: at least one address; default: `host`. */
  readonly edgeHosts?: readonly string[];
  /** What connectors may come by; default both, on one port number. */
  readonly protocols?: readonly EdgeProtocol[];
  /** Where connectors dial; default: a free port. */
  readonly edgePort?: number;
  /** Where visitors come; default: a free port. */
  readonly publicPort?: number;
  /** Where the quick-tunnel API listens; default: a free port. */
  readonly quickPort?: number;
  /** Where the dashboard and `tail` come; default: a free port. */
  readonly managementPort?: number;
  /** Two locations are made of it, `LAB01` and `LAB02` by default. */
  readonly location?: string;
  /** Register tunnels that this edge did not issue; default false. */
  readonly acceptAnyToken?: boolean;
  /** `tunnelIsRemotelyManaged` of each registration; default true. False makes a connector send its local configuration. */
  readonly remotelyManaged?: boolean;
  /** Close TCP once a connection has unregistered and drained; default true. */
  readonly closeDrained?: boolean;
  /** A PING follows this long without a frame from the connector; default 15,000, 0 = never. */
  readonly pingIntervalMs?: number;
  /** How long its answer may take; default 10,000. */
  readonly pingTimeoutMs?: number;
  /** What each stream may send before it is read; default 1 MiB. Tiny windows show how a connector copes. */
  readonly initialWindowSize?: number;
  readonly connectionWindowSize?: number;
  readonly certificate?: CertificateKind;
  /** Highest TLS version; default TLSv1.3. */
  readonly maxTlsVersion?: "TLSv1.2" | "TLSv1.3";
  /** Told of each visitor of the public listener, and of the connection that takes it; undefined where none does. */
  readonly onVisit?: (request: StreamRequest, connection: Connection | undefined) => void;
  /** Default: silent. */
  readonly logger?: Logger;
}

/** Which connections are meant; without any field, all. */
export interface ConnectionFilter {
  readonly tunnelId?: string;
  readonly connIndex?: number;
}

export interface WaitOptions extends ConnectionFilter {
  /** Default 30,000. */
  readonly timeoutMs?: number;
}

export interface MockEdge extends AsyncDisposable {
  /** `host:port` for `--edge`. */
  readonly edgeAddress: string;
  /** URL of the public listener, without a slash at the end. */
  readonly publicUrl: string;
  /** URL for `--quick-service`. */
  readonly quickUrl: string;
  /** `host:port` for `--management-hostname` of `tail`: HTTPS, with a certificate of `caPem`. */
  readonly managementHost: string;
  /** The authority that a connector must trust. */
  readonly caPem: string;
  /** All that have not closed, in the order in which they came. */
  readonly connections: readonly Connection[];
  /** Every registerConnection that came, refused ones included. */
  readonly registrations: readonly Registration[];
  /** What connectors sent by updateLocalConfiguration. */
  readonly localConfigurations: readonly { readonly connIndex: number; readonly config: string }[];

  /** Writes the authority's certificate to a file that everyone may read, for `--cacert`; removed by `close`. */
  caFile(): Promise<string>;
  /** A new tunnel; visitors of `hostnames` are sent to it. */
  issueTunnel(options?: { readonly hostnames?: readonly string[] }): IssuedTunnel;
  /** A new tunnel's token. */
  issueToken(): string;
  /** An access token for the management service of a tunnel that this edge has issued. */
  issueManagementToken(tunnelId: string, options?: ManagementTokenOptions): string;
  /** Sends visitors of `hostname` to the tunnel. Other host names go to the only tunnel that has connections. */
  route(hostname: string, tunnelId: string): void;

  /** Sends a request through a tunnel, without the public listener. A path is asked of the public listener's host. */
  fetch(input: string, init?: RequestInit): Promise<Response>;
  /** Opens a stream with exactly these fields; throws MockEdgeError where no connection takes one. */
  openStream(request: StreamRequest, filter?: ConnectionFilter): VisitorStream;
  /** Opens a TCP stream to a literal `ip:port` behind the tunnel. */
  connectTcp(destination: string, filter?: ConnectionFilter): Promise<VisitorStream>;
  /** Opens a UDP session to a literal `ip:port` behind the tunnel, over QUIC, in the version that the connector registered with. */
  openUdpSession(destination: string, options?: ConnectionFilter & UdpSessionOptions): Promise<UdpSession>;
  /** Pings an IP address behind the tunnel, over QUIC. */
  ping(destination: string, options?: ConnectionFilter & PingOptions): Promise<PingAnswer>;
  /** Pushes a configuration to each connector of the tunnel, once. */
  pushConfiguration(version: number, config: unknown, filter?: ConnectionFilter): Promise<PushResult[]>;

  /** Resolves as soon as that many connections are registered; rejects with MockEdgeError when they are not in time. */
  registered(count: number, options?: WaitOptions): Promise<readonly Connection[]>;
  /** Resolves as soon as `condition` holds; it is looked at whenever a connection's state changes. */
  until(condition: () => boolean, options?: { readonly timeoutMs?: number }): Promise<void>;

  /** Makes something go wrong, once unless the scope says otherwise. */
  fail(fault: Fault, scope?: FaultScope): void;
  /** Makes the quick-tunnel API fail, once unless said otherwise. */
  failQuick(fault: QuickFault, times?: number): void;
  /** Forgets every fault that has not come yet. */
  clearFaults(): void;
  /** Closes TCP of registered connections at once. */
  dropConnections(filter?: ConnectionFilter): void;
  /** Loses every UDP datagram, both ways, as a network that forbids them does; or no longer. */
  blockUdp(blocked: boolean): void;
  /** Ends what listens for connectors on the host, with all its connections, as a machine of the edge does that is restarted. */
  stopListening(host: string): Promise<void>;
  /** Listens there again, on the same port: what still comes to connections of before is answered by a TCP or stateless reset. */
  listenAgain(host: string): Promise<void>;
  /** The certificate of the connections that come from now on. */
  useCertificate(kind: CertificateKind): void;

  /** Closes every connection and listener. */
  close(): Promise<void>;
}
