/** A client and a server of ours in one process, in virtual time, over a link that tests may damage. */
import { createHash } from "node:crypto";
import { localParameters } from "../../../src/protocol/quic/connection/local-parameters.ts";
import type { CoreSetup } from "../../../src/protocol/quic/connection/core.ts";
import type {
  ConnectionHandler,
  ConnectionOptions,
  HandshakeInfo,
} from "../../../src/protocol/quic/connection/options.ts";
import { QuicConnection } from "../../../src/protocol/quic/connection.ts";
import type { QuicConnectionError } from "../../../src/protocol/quic/errors.ts";
import type { QuicStream, QuicStreamSink } from "../../../src/protocol/quic/streams/types.ts";
import {
  encodeTransportParameters,
  type TransportParameters,
} from "../../../src/protocol/quic/transport-parameters.ts";
import { fakeTlsClient, fakeTlsServer, type FakeTlsOptions } from "./fake-tls.ts";

/** Bytes that are the same in each run. */
export function deterministic(seed: string): (length: number) => Buffer {
  let counter = 0;
  return (length) => {
    const parts: Buffer[] = [];
    for (let have = 0; have < length; have += 32) {
      parts.push(createHash("sha256").update(`${seed} ${counter++}`).digest());
    }
    return Buffer.concat(parts).subarray(0, length);
  };
}

/** Takes down what a stream says; gives credit back at once, unless told not to. */
export class Sink implements QuicStreamSink {
  readonly stream: QuicStream;
  readonly chunks: Buffer[] = [];
  ended = false;
  reset: number | undefined;
  stopped: number | undefined;
  writable = 0;
  evicted = false;
  closed = false;
  paused = false;

  constructor(stream: QuicStream) {
    this.stream = stream;
    stream.sink = this;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  onData(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
    if (!this.paused) this.stream.consumed(chunk.length);
  }
  onEnd(): void {
    this.ended = true;
  }
  onReset(errorCode: number): void {
    this.reset = errorCode;
  }
  onStopSending(errorCode: number): void {
    this.stopped = errorCode;
  }
  onWritable(): void {
    this.writable++;
  }
  onEvicted(): void {
    this.evicted = true;
  }
  onClosed(): void {
    this.closed = true;
  }
}

export class Recorder implements ConnectionHandler {
  info: HandshakeInfo | undefined;
  confirmed = false;
  closed: QuicConnectionError | undefined;
  streamsAvailable = 0;
  readonly streams: Sink[] = [];
  readonly datagrams: Buffer[] = [];
  readonly tokens: Buffer[] = [];
  /** Called for each new stream, once its sink is set. */
  onNewStream: (sink: Sink) => void = () => {};

  onHandshakeComplete(info: HandshakeInfo): void {
    this.info = info;
  }
  onHandshakeConfirmed(): void {
    this.confirmed = true;
  }
  onStream(stream: QuicStream): void {
    const sink = new Sink(stream);
    this.streams.push(sink);
    this.onNewStream(sink);
  }
  onDatagram(bytes: Buffer): void {
    this.datagrams.push(Buffer.from(bytes));
  }
  onClosed(error: QuicConnectionError): void {
    this.closed = error;
  }
  onStreamsAvailable(): void {
    this.streamsAvailable++;
  }
  onNewToken(token: Buffer): void {
    this.tokens.push(token);
  }
}

export interface PairOptions {
  readonly client?: ConnectionOptions;
  readonly server?: ConnectionOptions;
  readonly tls?: Omit<FakeTlsOptions, "transportParameters" | "random">;
  /** One way, in milliseconds. */
  readonly delay?: number;
  /** What the link does to a datagram: undefined drops it, several duplicate it. */
  readonly link?: (
    datagram: Buffer,
    fromClient: boolean,
    now: number,
    /** Of the client: where it is, or where it is looked for. */
    address: string,
  ) => Buffer | readonly Buffer[] | undefined;
  /** Changes the ids that stand in the parameters. */
  readonly serverParameters?: Partial<TransportParameters>;
  readonly clientParameters?: Partial<TransportParameters>;
  readonly addressValidated?: boolean;
}

interface Flying {
  readonly at: number;
  readonly to: QuicConnection;
  readonly from: string;
  readonly bytes: Buffer;
}

/** Where the server's client is at first. */
export const CLIENT_ADDRESS = "192.0.2.1:1000";

const DEFAULTS: ConnectionOptions = { maxIdleTimeout: 30_000, maxDatagramFrameSize: 16_383 };

export class Pair {
  readonly client: QuicConnection;
  readonly server: QuicConnection;
  readonly atClient = new Recorder();
  readonly atServer = new Recorder();
  readonly clientId = Buffer.alloc(0);
  readonly serverId: Buffer;
  /** Of the server's first id. */
  readonly resetToken: Buffer;
  now = 1000;
  /** Where the client is. */
  clientAddress = CLIENT_ADDRESS;
  sent = 0;
  readonly #flying: Flying[] = [];
  /** What the client's packets are sealed by, and the server's: by level. */
  readonly secrets = { client: new Map<string, Buffer>(), server: new Map<string, Buffer>() };
  /** The id of the client's first Initial. */
  readonly originalDestination: Buffer;
  readonly #delay: number;
  readonly #link: NonNullable<PairOptions["link"]>;

  constructor(options: PairOptions = {}) {
    this.#delay = options.delay ?? 5;
    this.#link = options.link ?? ((datagram) => datagram);
    const random = deterministic("pair");
    const destination = random(8);
    this.originalDestination = destination;
    this.serverId = random(8);
    const issue = () => ({ id: random(8), resetToken: random(16) });
    const common = { addressValidated: options.addressValidated ?? false, token: undefined, newToken: undefined };
    const clientOptions = { ...DEFAULTS, ...options.client };
    const clientLocal = localParameters(clientOptions, {
      initialSourceConnectionId: this.clientId,
      ...options.clientParameters,
    });
    const client: CoreSetup = {
      ...common,
      role: "client",
      options: clientOptions,
      handler: this.atClient,
      random,
      local: clientLocal,
      originalDestination: destination,
      initialDestination: destination,
      peerId: destination,
      initialSource: this.clientId,
      resetToken: Buffer.alloc(16),
      issuer: undefined,
      peerAddress: "",
    };
    const resetToken = random(16);
    this.resetToken = resetToken;
    const serverOptions = { ...DEFAULTS, ...options.server };
    const serverLocal = localParameters(serverOptions, {
      originalDestinationConnectionId: destination,
      initialSourceConnectionId: this.serverId,
      statelessResetToken: resetToken,
      ...options.serverParameters,
    });
    const server: CoreSetup = {
      ...common,
      role: "server",
      options: serverOptions,
      handler: this.atServer,
      random,
      local: serverLocal,
      originalDestination: destination,
      initialDestination: destination,
      peerId: this.clientId,
      initialSource: this.serverId,
      resetToken,
      issuer: { issue, retired: () => {} },
      peerAddress: CLIENT_ADDRESS,
    };
    const tls = (local: TransportParameters, role: "client" | "server"): FakeTlsOptions => ({
      ...options.tls,
      random,
      onSecret: (level, direction, secret) => {
        if (direction === "write") this.secrets[role].set(level, secret);
      },
      transportParameters: encodeTransportParameters(local, random),
    });
    this.server = new QuicConnection(server, fakeTlsServer(tls(serverLocal, "server")), this.now);
    this.client = new QuicConnection(client, fakeTlsClient(tls(clientLocal, "client")), this.now);
  }

  /** Lets both ends send what they have to say now. */
  flush(): void {
    for (const [from, to] of [
      [this.client, this.server],
      [this.server, this.client],
    ] as const) {
      for (const datagram of from.send(this.now)) {
        this.sent++;
        const isClient = from === this.client;
        const address = isClient ? this.clientAddress : this.server.sendAddress;
        const out = this.#link(Buffer.from(datagram), isClient, this.now, address);
        if (out === undefined) continue;
        for (const bytes of Buffer.isBuffer(out) ? [out] : out)
          this.#flying.push({ at: this.now + this.#delay, to, from: isClient ? address : "", bytes });
      }
      from.recycle();
    }
  }

  /** Moves time on to the next event, not beyond `until`; false when there is none before it. */
  step(until: number): boolean {
    this.flush();
    let at = Number.POSITIVE_INFINITY;
    for (const one of this.#flying) at = Math.min(at, one.at);
    for (const end of [this.client, this.server]) at = Math.min(at, end.deadline() ?? Number.POSITIVE_INFINITY);
    if (at > until) {
      this.now = until;
      return false;
    }
    this.now = Math.max(this.now, at);
    for (let i = 0; i < this.#flying.length; ) {
      const one = this.#flying[i] as Flying;
      if (one.at <= this.now) {
        this.#flying.splice(i, 1);
        one.to.receive(one.bytes, this.now, one.from);
      } else {
        i++;
      }
    }
    for (const end of [this.client, this.server]) {
      const deadline = end.deadline();
      if (deadline !== undefined && deadline <= this.now) end.onTimeout(this.now);
    }
    return true;
  }

  /** Runs for so long, in virtual milliseconds, or until `done`. */
  run(milliseconds: number, done: () => boolean = () => false): void {
    const until = this.now + milliseconds;
    for (let steps = 0; steps < 200_000; steps++) {
      if (done() || !this.step(until)) return;
    }
    throw new Error("an endless loop");
  }

  connect(): this {
    this.run(5_000, () => this.atClient.confirmed && this.atServer.confirmed);
    this.run(100);
    return this;
  }
}
