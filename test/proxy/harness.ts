/** A proxy in front of real origins on loopback, with what it logs and reports recorded. */
import { EventEmitter, once } from "node:events";
import http from "node:http";
import net from "node:net";
import { defaultOriginRequest, singleService } from "../../src/proxy/ingress/defaults.ts";
import { createProxy, type Proxy, type ProxyOptions } from "../../src/proxy/proxy.ts";
import type { LogFields, Logger, Origin, OriginRequestOptions, RequestOutcome, Service } from "../../src/types.ts";

// Origins are reached by the proxy that this machine may have: not here.
for (const name of ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]) delete process.env[name];

export const CONNECTOR_ID = "0a1b2c3d-0000-4000-8000-000000000001";

export const ORIGIN_REQUEST: OriginRequestOptions = defaultOriginRequest;

export interface LogEntry {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: LogFields;
}

export class Harness {
  readonly logs: LogEntry[] = [];
  readonly outcomes: RequestOutcome[] = [];
  started = 0;
  readonly proxy: Proxy;
  readonly #events = new EventEmitter();

  constructor(origin: Service, options: Partial<OriginRequestOptions> = {}, more: Partial<ProxyOptions> = {}) {
    const log =
      (level: LogEntry["level"]) =>
      (message: string, fields: LogFields = {}): void => {
        this.logs.push({ level, message, fields });
      };
    const logger: Logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
    this.proxy = createProxy({
      ingress: singleService(origin, { ...ORIGIN_REQUEST, ...options }),
      connectorId: CONNECTOR_ID,
      tags: [],
      logger,
      observer: {
        started: () => {
          this.started++;
        },
        finished: (outcome) => {
          this.outcomes.push(outcome);
          this.#events.emit("finished");
        },
      },
      ...more,
    });
  }

  /** Resolves with the outcome of the `count`th request that finished. */
  async outcome(count = 1): Promise<RequestOutcome> {
    while (this.outcomes.length < count) await once(this.#events, "finished");
    const outcome = this.outcomes[count - 1];
    if (outcome === undefined) throw new Error("unreachable");
    return outcome;
  }
}

type UrlOrigin = Extract<Origin, { kind: "url" }>;

export function portOf(server: net.Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}

export function urlOrigin(server: net.Server, scheme = "http", host = "127.0.0.1"): UrlOrigin {
  return portOrigin(portOf(server), scheme, host);
}

export function portOrigin(port: number, scheme = "http", host = "127.0.0.1"): UrlOrigin {
  return { kind: "url", url: new URL(`${scheme}://${host}:${port}`) };
}

export async function listen<S extends net.Server>(server: S, host = "127.0.0.1"): Promise<S> {
  server.listen(0, host);
  await once(server, "listening");
  return server;
}

/** An origin that node:http parses and frames. */
export async function httpOrigin(listener: http.RequestListener): Promise<http.Server> {
  return listen(http.createServer(listener));
}

/** One connection to a raw origin: what it received so far, and what it may do. */
export class RawConnection {
  readonly socket: net.Socket;
  received = "";
  ended = false;
  closed = false;
  readonly #events = new EventEmitter();

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
      this.#events.emit("change");
    });
    socket.on("end", () => {
      this.ended = true;
      this.#events.emit("change");
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      this.#events.emit("change");
    });
  }

  async until(condition: (connection: this) => boolean): Promise<this> {
    while (!condition(this)) await once(this.#events, "change");
    return this;
  }

  /** The first request's head has arrived. */
  async head(): Promise<string> {
    await this.until((connection) => connection.received.includes("\r\n\r\n"));
    return this.received.slice(0, this.received.indexOf("\r\n\r\n") + 4);
  }

  write(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }
}

/** An origin that writes whatever bytes it is told to. */
export class RawOrigin {
  readonly server: net.Server;
  readonly connections: RawConnection[] = [];
  readonly #events = new EventEmitter();

  constructor(onConnection?: (connection: RawConnection) => void) {
    this.server = net.createServer({ allowHalfOpen: true }, (socket) => {
      const connection = new RawConnection(socket);
      this.connections.push(connection);
      onConnection?.(connection);
      this.#events.emit("connection");
    });
  }

  async connection(index = 0): Promise<RawConnection> {
    while (this.connections.length <= index) await once(this.#events, "connection");
    const connection = this.connections[index];
    if (connection === undefined) throw new Error("unreachable");
    return connection;
  }

  close(): void {
    this.server.close();
    for (const { socket } of this.connections) socket.destroy();
  }
}

export async function rawOrigin(onConnection?: (connection: RawConnection) => void): Promise<RawOrigin> {
  const origin = new RawOrigin(onConnection);
  await listen(origin.server);
  return origin;
}

/** Closes what a test opened, in reverse order. */
export class Cleanup {
  readonly #steps: (() => unknown)[] = [];

  add<T>(value: T, step: (value: T) => unknown): T {
    this.#steps.push(() => step(value));
    return value;
  }

  harness(origin: Origin, options: Partial<OriginRequestOptions> = {}, more: Partial<ProxyOptions> = {}): Harness {
    return this.add(new Harness(origin, options, more), ({ proxy }) => proxy.close());
  }

  async http(listener: http.RequestListener): Promise<http.Server> {
    return this.add(await httpOrigin(listener), (server) => {
      server.closeAllConnections();
      server.close();
    });
  }

  async raw(onConnection?: (connection: RawConnection) => void): Promise<RawOrigin> {
    return this.add(await rawOrigin(onConnection), (origin) => origin.close());
  }

  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}
