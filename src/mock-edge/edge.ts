/** The mock edge itself: its listeners, and what they share. */
import { mkdtemp, rm, writeFile, chmod } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls, { type TLSSocket } from "node:tls";
import type { Http2Options } from "../protocol/http2/types.ts";
import type { Logger } from "../types.ts";
import type { ConnectionFilter, MockEdge, MockEdgeOptions, WaitOptions } from "./api.ts";
import { createAuthority, type Leaf } from "./ca.ts";
import type { Carrier, CarrierHandlers, StreamRequest } from "./carrier.ts";
import { type CertificateKind, certificate, EDGE_NAMES } from "./certificates.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { ConnectorListeners } from "./connector-listeners.ts";
import { type Fault, FaultPlan, type FaultScope } from "./faults.ts";
import { type Http2Accepted, Http2Carrier } from "./http2-carrier.ts";
import { allOrNone, type Listening, listen, urlHost } from "./listen.ts";
import { createEntrance, type ManagementTokenOptions, ManagementTokens } from "./management.ts";
import { ping, type PingAnswer, type PingOptions } from "./ping.ts";
import type { UdpSessionOptions } from "./private-network.ts";
import { createPublicListener } from "./public-listener.ts";
import { createQuickService, type QuickFault } from "./quick-service.ts";
import type { Registration } from "./registration.ts";
import { Router } from "./router.ts";
import { type IssuedTunnel, TunnelRegistry } from "./tunnels.ts";
import { connectTcp, MockEdgeError, openOn, type PushResult, pushConfiguration, visit } from "./visits.ts";
import type { VisitorStream } from "./visitor-stream.ts";
import type { UdpSession } from "./udp-session.ts";
import { Waiters } from "./waiters.ts";

const [EDGE_NAME, , PROBE_NAME] = EDGE_NAMES;
const PING_INTERVAL_MS = 15_000;
const PING_TIMEOUT_MS = 10_000;
const WAIT_MS = 30_000;

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

interface Listeners {
  readonly connectors: ConnectorListeners;
  readonly visitors: Listening;
  readonly quick: Listening;
  readonly management: Listening;
}

/** Both ends of a TCP connection. */
function wayOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}

function matches(connection: Connection, filter: ConnectionFilter): boolean {
  const { registration } = connection;
  return (
    (filter.tunnelId === undefined || registration?.tunnelId === filter.tunnelId) &&
    (filter.connIndex === undefined || registration?.connIndex === filter.connIndex)
  );
}

class Edge implements MockEdge {
  readonly registrations: Registration[] = [];
  readonly localConfigurations: { connIndex: number; config: string }[] = [];

  readonly #options: MockEdgeOptions;
  readonly #logger: Logger;
  readonly #location: string;
  readonly #authority = createAuthority();
  readonly #tunnels = new TunnelRegistry();
  readonly #router = new Router(this.#tunnels);
  readonly #faults = new FaultPlan();
  readonly #quickFaults: QuickFault[] = [];
  readonly #managementTokens = new ManagementTokens();
  readonly #waiters = new Waiters();
  readonly #tlsServer: tls.Server;
  /** TCP connections, by the addresses of both ends: Node hands out the TLS socket without the one below it. */
  readonly #accepted = new Map<string, Http2Accepted>();
  readonly #connectionHost: ConnectionHost;
  #leaf!: Leaf;
  #listeners: Listeners | undefined;
  #scratch: Promise<string> | undefined;

  constructor(options: MockEdgeOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silent;
    this.#location = options.location ?? "LAB";
    this.#tlsServer = tls.createServer();
    this.useCertificate(options.certificate ?? "valid");
    this.#connectionHost = this.#createConnectionHost();
    this.#tlsServer.on("secureConnection", (socket) => this.#onConnection(socket));
    this.#tlsServer.on("tlsClientError", (error) => this.#logger.warn("TLS handshake failed", { error }));
  }

  get #listening(): Listeners {
    if (this.#listeners === undefined) throw new MockEdgeError("the mock edge does not listen");
    return this.#listeners;
  }

  #url(port: number): string {
    return `http://${urlHost(this.#options.host ?? "127.0.0.1")}:${port}`;
  }

  get edgeAddress(): string {
    const { host = "127.0.0.1", edgeHosts = [host] } = this.#options;
    return `${urlHost(edgeHosts[0] ?? host)}:${this.#listening.connectors.port}`;
  }

  get publicUrl(): string {
    return this.#url(this.#listening.visitors.port);
  }

  get quickUrl(): string {
    return this.#url(this.#listening.quick.port);
  }

  get managementHost(): string {
    return `localhost:${this.#listening.management.port}`;
  }

  get caPem(): string {
    return this.#authority.certPem;
  }

  get connections(): readonly Connection[] {
    return this.#router.connections;
  }

  async start(): Promise<void> {
    const { host = "127.0.0.1", edgePort = 0, publicPort = 0, quickPort = 0, managementPort = 0 } = this.#options;
    const { edgeHosts: hosts = [host], protocols = ["http2", "quic"] } = this.#options;
    const connectors = new ConnectorListeners({
      hosts,
      port: edgePort,
      protocols,
      certificate: () => this.#leaf,
      onSocket: (socket, at) => this.#onSocket(socket, at),
      onQuic: (carrier) => this.#onCarrier((handlers) => carrier.carry(handlers)),
    });
    const { onVisit = () => {} } = this.#options;
    const seen = { location: this.#location, onVisit, logger: this.#logger };
    const visitors = createPublicListener({ ...seen, route: (authority) => this.#router.route(authority) });
    const quick = createQuickService(
      () => this.#quickFaults.shift(),
      () => this.#tunnels.issueQuick(),
    );
    const [, open, api, management] = await allOrNone<[ConnectorListeners, Listening, Listening, Listening]>([
      connectors.open().then(() => connectors),
      listen(visitors, host, publicPort),
      listen(quick, host, quickPort),
      listen(createEntrance(this.#router, this.#managementTokens, this.#authority, seen), host, managementPort),
    ]).catch(async (error: unknown) => {
      await connectors.close();
      throw error;
    });
    this.#listeners = { connectors, visitors: open, quick: api, management };
  }

  async caFile(): Promise<string> {
    this.#scratch ??= mkdtemp(join(tmpdir(), "underpass-mock-edge-"));
    const folder = await this.#scratch;
    const path = join(folder, "ca.pem");
    // A connector may run as another user.
    await chmod(folder, 0o755);
    await writeFile(path, this.caPem, { mode: 0o644 });
    return path;
  }

  issueTunnel(options: { readonly hostnames?: readonly string[] } = {}): IssuedTunnel {
    return this.#tunnels.issue(options.hostnames ?? []);
  }

  issueToken(): string {
    return this.issueTunnel().token;
  }

  issueManagementToken(tunnelId: string, options: ManagementTokenOptions = {}): string {
    const accountTag = this.#tunnels.accountOf(tunnelId);
    if (accountTag === undefined) throw new MockEdgeError(`this edge has issued no tunnel ${tunnelId}`);
    return this.#managementTokens.issue(tunnelId, accountTag, options);
  }

  route(hostname: string, tunnelId: string): void {
    this.#tunnels.route(hostname, tunnelId);
  }

  async fetch(input: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(input, this.publicUrl);
    const request = new Request(url, init);
    const authority = request.headers.get("host") ?? url.host;
    return await visit(this.#router.route(authority), request, init, this.#location);
  }

  openStream(request: StreamRequest, filter: ConnectionFilter = {}): VisitorStream {
    return openOn(this.#pick(filter, request.authority), request);
  }

  async connectTcp(destination: string, filter: ConnectionFilter = {}): Promise<VisitorStream> {
    return await connectTcp(this.#pick(filter, ""), destination);
  }

  async openUdpSession(destination: string, options: ConnectionFilter & UdpSessionOptions = {}): Promise<UdpSession> {
    const at = /^\[?([^\]]+?)\]?:(\d+)$/.exec(destination);
    if (at === null) throw new MockEdgeError(`"${destination}" is no ip:port`);
    const network = this.#pickQuic(options)?.privateNetwork;
    if (network === undefined) throw new MockEdgeError("no connection is registered that carries UDP: it needs QUIC");
    return await network.openUdpSession(at[1] ?? "", Number(at[2]), options);
  }

  async ping(destination: string, options: ConnectionFilter & PingOptions = {}): Promise<PingAnswer> {
    return await ping(this.#pickQuic(options), destination, options);
  }

  blockUdp(blocked: boolean): void {
    this.#listening.connectors.blockUdp(blocked);
  }

  async stopListening(host: string): Promise<void> {
    const cut = this.connections.filter((connection) => connection.host === host);
    await this.#listening.connectors.stop(host);
    await Promise.all(cut.map(({ closed }) => closed));
  }

  async listenAgain(host: string): Promise<void> {
    await this.#listening.connectors.listen(host);
  }

  async pushConfiguration(version: number, config: unknown, filter: ConnectionFilter = {}): Promise<PushResult[]> {
    const connectors = new Map<string, Connection>();
    for (const connection of this.connections) {
      if (connection.routable && matches(connection, filter) && connection.registration !== undefined)
        connectors.set(connection.registration.clientId, connection);
    }
    return await Promise.all(
      [...connectors.values()].map((connection) => pushConfiguration(connection, version, config, EDGE_NAME)),
    );
  }

  async registered(count: number, options: WaitOptions = {}): Promise<readonly Connection[]> {
    const find = (): Connection[] =>
      this.connections.filter((connection) => connection.state === "registered" && matches(connection, options));
    await this.until(() => find().length >= count, options);
    return find();
  }

  async until(condition: () => boolean, options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const states = (): string => `connections: ${this.connections.map(({ state }) => state).join(", ") || "none"}`;
    await this.#waiters.until(condition, options.timeoutMs ?? WAIT_MS, states);
  }

  fail(fault: Fault, scope?: FaultScope): void {
    this.#faults.add(fault, scope);
  }

  failQuick(fault: QuickFault, times = 1): void {
    for (let i = 0; i < times; i++) this.#quickFaults.push(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
    this.#quickFaults.length = 0;
  }

  dropConnections(filter: ConnectionFilter = {}): void {
    for (const connection of this.connections.slice()) if (matches(connection, filter)) connection.drop();
  }

  useCertificate(kind: CertificateKind): void {
    const { keyPem, certPem } = (this.#leaf = certificate(kind, this.#authority, createAuthority));
    this.#tlsServer.setSecureContext({
      key: keyPem,
      cert: certPem,
      minVersion: "TLSv1.2",
      maxVersion: this.#options.maxTlsVersion ?? "TLSv1.3",
    });
  }

  async close(): Promise<void> {
    this.#waiters.fail("the mock edge was closed");
    const listeners = this.#listeners;
    if (listeners !== undefined) {
      await Promise.all([
        listeners.visitors.close(),
        listeners.quick.close(),
        listeners.management.close(),
        listeners.connectors.close(),
      ]);
      await Promise.all(this.connections.map(({ closed }) => closed));
    }
    const scratch = this.#scratch;
    this.#scratch = undefined;
    if (scratch !== undefined) await rm(await scratch, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The next connection for a filter, or for the host where the filter says nothing. */
  #pick(filter: ConnectionFilter, authority: string): Connection | undefined {
    if (filter.connIndex !== undefined)
      return this.connections.find((connection) => connection.routable && matches(connection, filter));
    return filter.tunnelId === undefined ? this.#router.route(authority) : this.#router.pick(filter.tunnelId);
  }

  #pickQuic(filter: ConnectionFilter): Connection | undefined {
    return this.connections.find(
      (connection) => connection.protocol === "quic" && connection.routable && matches(connection, filter),
    );
  }

  #onSocket(socket: Socket, host: string): void {
    socket.on("error", () => {});
    const fault = this.#faults.accept();
    if (fault?.kind === "close-at-accept") socket.destroy();
    if (fault !== undefined) return;
    const way = wayOf(socket);
    this.#accepted.set(way, { host, tcp: socket });
    socket.once("close", () => this.#accepted.delete(way));
    this.#tlsServer.emit("connection", socket);
  }

  #onConnection(socket: TLSSocket): void {
    socket.on("error", () => {});
    const accepted = this.#accepted.get(wayOf(socket));
    if (accepted === undefined) {
      // Gone meanwhile.
      socket.destroy();
      return;
    }
    const fault = this.#faults.handshake();
    if (fault?.kind === "raw") {
      fault.serve(socket);
    } else if (fault?.kind === "no-preface" || socket.servername === PROBE_NAME) {
      // A pre-check only wants to see that the handshake works.
      socket.resume();
    } else {
      const options = this.#http2Options;
      this.#onCarrier((handlers) => new Http2Carrier(socket, accepted, options, EDGE_NAME, handlers));
    }
  }

  #onCarrier(carry: (handlers: CarrierHandlers) => Carrier): void {
    const connection = new Connection(carry, this.#connectionHost);
    this.#router.add(connection);
    this.#onState(connection);
  }

  get #http2Options(): Http2Options {
    const { pingIntervalMs = PING_INTERVAL_MS, pingTimeoutMs = PING_TIMEOUT_MS } = this.#options;
    const { initialWindowSize, connectionWindowSize } = this.#options;
    return {
      pingIntervalMs,
      pingTimeoutMs,
      ...(initialWindowSize === undefined ? {} : { initialWindowSize }),
      ...(connectionWindowSize === undefined ? {} : { connectionWindowSize }),
    };
  }

  #createConnectionHost(): ConnectionHost {
    const { acceptAnyToken = false, remotelyManaged = true, closeDrained = true } = this.#options;
    return {
      faults: this.#faults,
      remotelyManaged,
      closeDrained,
      verify: ({ tunnelId, accountTag, tunnelSecret }) =>
        acceptAnyToken ? "valid" : this.#tunnels.verify(tunnelId, accountTag, tunnelSecret),
      location: (connIndex) => `${this.#location}0${(connIndex % 2) + 1}`,
      onRegistration: (registration) => this.registrations.push(registration),
      onLocalConfiguration: (connection, config) => {
        this.localConfigurations.push({
          connIndex: connection.registration?.connIndex ?? -1,
          config: Buffer.from(config).toString(),
        });
        this.#waiters.wake();
      },
      onState: (connection) => this.#onState(connection),
    };
  }

  #onState(connection: Connection): void {
    const { state, registration, location, remoteAddress } = connection;
    if (state === "closed") this.#router.remove(connection);
    const isPassing = state === "connected" || state === "registering";
    this.#logger[isPassing ? "debug" : "info"](`Connection ${state}`, {
      connIndex: registration?.connIndex,
      location: location === "" ? undefined : location,
      tunnelId: registration?.tunnelId,
      version: registration?.version,
      remoteAddress,
      error: connection.error,
    });
    this.#waiters.wake();
  }
}

/** Starts a mock edge; rejects when a port that was asked for is taken. */
export async function startMockEdge(options: MockEdgeOptions = {}): Promise<MockEdge> {
  const edge = new Edge(options);
  await edge.start();
  return edge;
}
