/** A datagram proxy between the edge's end of connections, which is the test, and real UDP origins on loopback. */
import dgram from "node:dgram";
import { EventEmitter, once } from "node:events";
import { onTestFinished } from "vitest";
import {
  createDatagramProxy,
  type DatagramConnection,
  type DatagramProxyOptions,
} from "../../../src/proxy/datagrams.ts";
import { FlowLimiter } from "../../../src/proxy/flow-limiter.ts";
import { LocalResolvers } from "../../../src/proxy/local-resolvers.ts";
import type { DatagramChannel, DatagramObserver, LogFields, Logger } from "../../../src/types.ts";

/** What an observer was told, as `method` and its arguments joined: `udpDropped 2 0 write_full`. */
export class RecordingObserver implements DatagramObserver {
  readonly told: string[] = [];
  readonly events = new EventEmitter();

  #tell(method: string, ...given: readonly (string | number)[]): void {
    this.told.push([method, ...given].join(" "));
    this.events.emit("told");
  }

  sessionOpened = (...given: [2 | 3, number]): void => this.#tell("sessionOpened", ...given);
  sessionClosed = (...given: [2 | 3, number]): void => this.#tell("sessionClosed", ...given);
  sessionFailed = (...given: [2 | 3, number]): void => this.#tell("sessionFailed", ...given);
  registrationRepeated = (connIndex: number): void => this.#tell("registrationRepeated", connIndex);
  sessionMigrated = (from: number, to: number): void => this.#tell("sessionMigrated", from, to);
  unsupportedCall = (connIndex: number, command: string): void => this.#tell("unsupportedCall", connIndex, command);
  udpDropped = (...given: [2 | 3, number, string]): void => this.#tell("udpDropped", ...given);
  icmpDropped = (...given: [number, string]): void => this.#tell("icmpDropped", ...given);
  icmpRequest = (): void => this.#tell("icmpRequest");
  icmpReply = (): void => this.#tell("icmpReply");
  flowRefused = (): void => this.#tell("flowRefused");
  dnsSession = (): void => this.#tell("dnsSession");

  count(text: string): number {
    return this.told.filter((line) => line === text).length;
  }

  /** Resolves when `text` has been told `times` times. */
  async saw(text: string, times = 1): Promise<void> {
    while (this.count(text) < times) await once(this.events, "told");
  }
}

/** The connection as the proxy sees it; `sent` is what the edge got. */
export class TestChannel implements DatagramChannel {
  onDatagram: (datagram: Uint8Array) => void = () => undefined;
  sessionsUsedAt?: number;
  readonly sent: Buffer[] = [];
  /** False = the path takes nothing. */
  accepts = true;
  readonly #events = new EventEmitter();

  send(datagram: Uint8Array): boolean {
    if (!this.accepts) return false;
    this.sent.push(Buffer.from(datagram));
    this.#events.emit("sent");
    return true;
  }

  /** From the edge; the view is poisoned afterwards, as that of a reused buffer would be. */
  deliver(datagram: Uint8Array): void {
    const view = Uint8Array.from(datagram);
    this.onDatagram(view);
    view.fill(0xee);
  }

  /** The next datagram that the edge has not been given yet. */
  async next(): Promise<Buffer> {
    for (;;) {
      const datagram = this.sent.shift();
      if (datagram !== undefined) return datagram;
      await once(this.#events, "sent");
    }
  }
}

export interface Unregistered {
  readonly sessionId: string;
  readonly message: string;
}

/** The edge's answer to calls of version 2. */
export class TestEdge {
  readonly calls: Unregistered[] = [];
  readonly events = new EventEmitter();
  running = 0;
  mostRunning = 0;
  /** What a call waits for. */
  answer: () => Promise<void> = () => Promise.resolve();

  async unregisterUdpSession(sessionId: string, message: string): Promise<void> {
    this.calls.push({ sessionId, message });
    this.mostRunning = Math.max(this.mostRunning, ++this.running);
    this.events.emit("call");
    try {
      await this.answer();
    } finally {
      this.running--;
    }
  }

  async called(times = 1): Promise<void> {
    while (this.calls.length < times) await once(this.events, "call");
  }
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

export interface Link {
  readonly channel: TestChannel;
  readonly edge: TestEdge;
  readonly connection: DatagramConnection;
}

export class DatagramHarness {
  readonly observer = new RecordingObserver();
  readonly flows = new FlowLimiter();
  readonly logs: LogLine[] = [];
  readonly proxy;

  constructor(options: Partial<DatagramProxyOptions> & { readonly resolvers?: LocalResolvers } = {}) {
    const log =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        this.logs.push({ level, message, fields });
      };
    const logger: Logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
    this.proxy = createDatagramProxy({
      flows: this.flows,
      resolvers: new LocalResolvers(["127.0.0.1:1"]),
      observer: this.observer,
      logger,
      icmp: undefined,
      ...options,
    });
    onTestFinished(() => this.proxy.close());
  }

  attach(version: 2 | 3, connIndex = 0): Link {
    const channel = new TestChannel();
    const edge = new TestEdge();
    return { channel, edge, connection: this.proxy.attach(connIndex, channel, version, edge) };
  }
}

export interface Received {
  readonly payload: string;
  readonly port: number;
}

/** A UDP server that remembers what came, and answers `echo <payload>` unless told otherwise. */
export class UdpOrigin {
  readonly socket: dgram.Socket;
  readonly received: Received[] = [];
  /** Undefined = silence. */
  answer: (payload: Buffer) => Buffer | undefined = (payload) => Buffer.concat([Buffer.from("echo "), payload]);

  private constructor(socket: dgram.Socket) {
    this.socket = socket;
    socket.on("message", (payload, { address, port }) => {
      this.received.push({ payload: payload.toString(), port });
      const answer = this.answer(payload);
      if (answer !== undefined) socket.send(answer, port, address);
      socket.emit("kept");
    });
  }

  static async start(host = "127.0.0.1", port = 0): Promise<UdpOrigin> {
    const socket = dgram.createSocket(host.includes(":") ? "udp6" : "udp4");
    const origin = new UdpOrigin(socket);
    socket.bind(port, host);
    await once(socket, "listening");
    let open = true;
    socket.on("close", () => (open = false));
    onTestFinished(() => {
      if (open) socket.close();
    });
    return origin;
  }

  get port(): number {
    return this.socket.address().port;
  }

  async got(count = 1): Promise<Received> {
    while (this.received.length < count) await once(this.socket, "kept");
    const received = this.received[count - 1];
    if (received === undefined) throw new Error("unreachable");
    return received;
  }
}

/** What the system has already told by the time of two turns of the loop. */
export async function turns(count = 2): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
