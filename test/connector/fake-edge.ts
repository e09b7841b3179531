/** An edge without sockets, for the supervisor in virtual time: every dial and registration goes as the test says. */
import type { ConnectionReport } from "../../src/connector/api.ts";
import type { AddressSource, ConnectorParts, CredentialsResult, Rotation } from "../../src/connector/parts.ts";
import { Secret } from "../../src/config/secret.ts";
import type { RegistrationClient, RegistrationParams, RegistrationResult } from "../../src/rpc/registration-client.ts";
import type {
  ByteChannel,
  CloseReason,
  DatagramChannel,
  EdgeAddress,
  EdgeConnection,
  EdgeRequest,
  LogFields,
  Logger,
} from "../../src/types.ts";

/** Of a connection that has done nothing yet. */
export const noReport: ConnectionReport = {
  roundTripMs: undefined,
  ageMs: undefined,
  activeStreams: 0,
  requests: 0,
  resets: 0,
  reconnects: 0,
  lastError: undefined,
};

export class FakeConnection implements EdgeConnection {
  readonly protocol = "http2";
  readonly localAddress = "192.0.2.1";
  readonly connIndex: number;
  readonly remoteAddress: string;
  readonly closed: Promise<CloseReason>;
  readonly client: FakeClient;
  openStreams = 0;
  resets = 0;
  roundTripMs: number | undefined;
  probes = 0;
  datagrams?: DatagramChannel;
  onSilence: (silent: boolean) => void = () => {};
  onRequest: (request: EdgeRequest) => void = () => {};
  /** Undefined while it is open. */
  closeReason: CloseReason | undefined;
  closedAt: number | undefined;
  readonly #edge: FakeEdge;
  #resolveClosed!: (reason: CloseReason) => void;

  constructor(edge: FakeEdge, connIndex: number, address: EdgeAddress) {
    this.#edge = edge;
    this.connIndex = connIndex;
    this.remoteAddress = `${address.ip}:${address.port}`;
    this.client = new FakeClient(edge, this);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  control(signal?: AbortSignal): Promise<ByteChannel> {
    const channel: ByteChannel = { onData() {}, onEnd() {}, write() {}, end() {} };
    if (this.#edge.opensControl) return Promise.resolve(channel);
    return new Promise((_resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  close(reason: CloseReason): Promise<void> {
    this.end(reason);
    return Promise.resolve();
  }

  probe(): void {
    this.probes++;
    this.#edge.onProbe(this);
  }

  /** The edge, or the way to it, ends the connection. */
  drop(error?: Error): void {
    this.end(error === undefined ? { kind: "edge-closed" } : { kind: "error", error });
  }

  private end(reason: CloseReason): void {
    if (this.closeReason !== undefined) return;
    this.closeReason = reason;
    this.closedAt = Date.now();
    this.client.end(new Error("channel closed"));
    this.#resolveClosed(reason);
  }
}

export class FakeClient implements RegistrationClient {
  readonly ended: Promise<Error | undefined>;
  unregisterCalls = 0;
  closed = false;
  configuration: string | undefined;
  readonly #edge: FakeEdge;
  readonly #connection: FakeConnection;
  #resolveEnded!: (error: Error | undefined) => void;
  #reject: (error: Error) => void = () => {};

  constructor(edge: FakeEdge, connection: FakeConnection) {
    this.#edge = edge;
    this.#connection = connection;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  register(
    params: RegistrationParams,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<RegistrationResult> {
    this.#edge.registrations.push(params);
    return new Promise<RegistrationResult>((resolve, reject) => {
      this.#reject = reject;
      const abort = (): void => reject(new Error("cancelled"));
      options.signal?.addEventListener("abort", abort, { once: true });
      const timer = setTimeout(() => reject(new Error("no answer in time")), options.timeoutMs);
      const settled = (): void => {
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", abort);
      };
      this.#edge.answer(params, this.#connection).then(resolve, reject).finally(settled);
      void this.ended.then(settled);
    });
  }

  updateLocalConfiguration(config: Uint8Array): Promise<void> {
    this.configuration = Buffer.from(config).toString();
    return this.#edge.takesConfiguration ? Promise.resolve() : Promise.reject(new Error("not wanted"));
  }

  unregister(options: { timeoutMs: number }): Promise<void> {
    this.unregisterCalls++;
    this.#edge.unregistered.push({ connIndex: this.#connection.connIndex, at: Date.now() });
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      const timer = setTimeout(() => reject(new Error("no answer in time")), options.timeoutMs);
      void this.ended.then(() => clearTimeout(timer));
      if (this.#edge.unregisterDelayMs === undefined) return;
      setTimeout(() => {
        clearTimeout(timer);
        resolve();
      }, this.#edge.unregisterDelayMs);
    });
  }

  close(): void {
    this.closed = true;
    this.end(undefined);
  }

  /** The control stream ends. */
  end(error: Error | undefined): void {
    this.#reject(error ?? new Error("closed"));
    this.#resolveEnded(error);
  }
}

export class FakeEdge {
  /** Undefined: the dial succeeds. */
  onDial: (connIndex: number, address: EdgeAddress) => Error | undefined = () => undefined;
  /** Default: every registration succeeds. */
  onRegister: (params: RegistrationParams) => RegistrationResult | Error | "never" = () => registered();
  /** A connection asks for a sign of life. */
  onProbe: (connection: FakeConnection) => void = () => {};
  dialDelayMs = 10;
  registerDelayMs = 20;
  unregisterDelayMs: number | undefined = 15;
  opensControl = true;
  takesConfiguration = true;
  readonly dials: { connIndex: number; ip: string; at: number }[] = [];
  readonly registrations: RegistrationParams[] = [];
  readonly connections: FakeConnection[] = [];
  readonly unregistered: { connIndex: number; at: number }[] = [];

  get open(): FakeConnection[] {
    return this.connections.filter((connection) => connection.closeReason === undefined);
  }

  dial(connIndex: number, address: EdgeAddress, signal: AbortSignal): Promise<EdgeConnection> {
    this.dials.push({ connIndex, ip: address.ip, at: Date.now() });
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", abort);
        const error = this.onDial(connIndex, address);
        if (error !== undefined) return reject(error);
        const connection = new FakeConnection(this, connIndex, address);
        this.connections.push(connection);
        resolve(connection);
      }, this.dialDelayMs);
      signal.addEventListener("abort", abort);
    });
  }

  async answer(params: RegistrationParams, _connection: FakeConnection): Promise<RegistrationResult> {
    await new Promise((resolve) => setTimeout(resolve, this.registerDelayMs));
    const answer = this.onRegister(params);
    if (answer === "never") return await new Promise(() => {});
    if (answer instanceof Error) throw answer;
    return answer;
  }
}

export function registered(remotelyManaged = true): RegistrationResult {
  return { kind: "registered", connectionId: crypto.randomUUID(), location: "lhr01", remotelyManaged };
}

export function refused(
  cause: string,
  options: { shouldRetry?: boolean; retryAfterMs?: number } = {},
): RegistrationResult {
  return { kind: "refused", cause, shouldRetry: options.shouldRetry ?? false, retryAfterMs: options.retryAfterMs ?? 0 };
}

/** Two regions, 192.0.2.x and 198.51.100.x; a rotation goes to the next address in turn. */
export class FakeAddresses implements AddressSource {
  readonly rotations: { connIndex: number; why: Rotation }[] = [];
  networkChanged: () => void = () => {};
  /** What `assign` rejects with instead. */
  failure: Error | undefined;
  readonly size: number;
  readonly #offsets = new Map<number, number>();

  constructor(size = 20) {
    this.size = size;
  }

  assign(connIndex: number): Promise<EdgeAddress> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const slot = (connIndex + (this.#offsets.get(connIndex) ?? 0)) % this.size;
    const ip = slot % 2 === 0 ? `192.0.2.${slot + 1}` : `198.51.100.${slot + 1}`;
    return Promise.resolve({ ip, port: 7844, family: 4 });
  }

  rotate(connIndex: number, why: Rotation): void {
    this.rotations.push({ connIndex, why });
    this.#offsets.set(connIndex, (this.#offsets.get(connIndex) ?? 0) + 5);
  }
}

export const credentials = {
  accountTag: "account",
  tunnelSecret: new Secret(new Uint8Array(32)),
  tunnelId: "11111111-2222-4333-8444-555555555555",
  endpoint: undefined,
};

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
  readonly at: number;
}

export function recordingLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}): void => {
      lines.push({ level, message, fields, at: Date.now() });
    };
  return { lines, logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } };
}

/** A seeded generator (mulberry32), so that a failing run can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function fakeParts(
  edge: FakeEdge,
  options: { addresses?: AddressSource; random?: () => number; identity?: Partial<ConnectorParts["identity"]> } = {},
): ConnectorParts {
  const result: CredentialsResult = { kind: "credentials", credentials };
  return {
    dial: ({ connIndex, address, signal }) => edge.dial(connIndex, address, signal),
    initialProtocol: "http2",
    createRegistrationClient: () => {
      const connection = edge.connections.at(-1);
      if (connection === undefined) throw new Error("no connection was dialled");
      return connection.client;
    },
    addresses: options.addresses ?? new FakeAddresses(),
    identity: {
      credentials: () => Promise.resolve(result),
      tunnelId: credentials.tunnelId,
      url: undefined,
      replaceable: false,
      registered() {},
      refused() {},
      ...options.identity,
    },
    random: options.random ?? seededRandom(1),
  };
}
