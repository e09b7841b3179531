/** A server endpoint and clients of ours in one process, with the real TLS, in virtual time. Each client has an address of its own. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createAuthority } from "../../../src/mock-edge/ca.ts";
import { connectQuic, type ConnectOptions } from "../../../src/protocol/quic/connection-client.ts";
import type { QuicConnection } from "../../../src/protocol/quic/connection.ts";
import { ServerEndpoint, type ServerEndpointOptions } from "../../../src/protocol/quic/endpoint.ts";
import { deterministic, Recorder } from "./pair.ts";

const authority = createAuthority();
const leaf = authority.issue({ dnsNames: ["quic.test"] });

export interface RigOptions {
  readonly endpoint?: Partial<ServerEndpointOptions>;
  /** What the link does: undefined drops. */
  readonly link?: (datagram: Buffer, toServer: boolean) => Buffer | undefined;
}

interface Client {
  address: string;
  readonly connection: QuicConnection;
  readonly recorder: Recorder;
}

interface Flying {
  readonly at: number;
  readonly bytes: Buffer;
  readonly from: string;
  /** Undefined = to the server. */
  readonly to: string | undefined;
}

const DELAY = 5;

export class EndpointRig {
  readonly endpoint: ServerEndpoint;
  readonly accepted: Recorder[] = [];
  readonly clients: Client[] = [];
  /** What the endpoint answered without a connection. */
  readonly replies: Buffer[] = [];
  now = 1000;
  readonly #random = deterministic("rig");
  readonly #flying: Flying[] = [];
  readonly #link: NonNullable<RigOptions["link"]>;

  constructor(options: RigOptions = {}) {
    this.#link = options.link ?? ((datagram) => datagram);
    this.endpoint = new ServerEndpoint({
      tls: {
        certificateChain: [new X509Certificate(leaf.certPem).raw],
        privateKey: createPrivateKey(leaf.keyPem),
        alpn: ["test"],
        groups: ["X25519", "P-256"],
      },
      random: this.#random,
      secret: this.#random(32),
      maxIdleTimeout: 30_000,
      maxDatagramFrameSize: 16_383,
      accept: () => {
        const recorder = new Recorder();
        this.accepted.push(recorder);
        return recorder;
      },
      ...options.endpoint,
    });
  }

  connect(address: string, options: Partial<ConnectOptions> = {}): Client {
    const recorder = new Recorder();
    const connection = connectQuic(
      {
        tls: {
          serverName: "quic.test",
          alpn: ["test"],
          roots: [authority.certPem],
          time: Date.now(),
          groups: ["X25519"],
        },
        handler: recorder,
        random: this.#random,
        maxIdleTimeout: 30_000,
        maxDatagramFrameSize: 16_383,
        ...options,
      },
      this.now,
    );
    const client = { address, connection, recorder };
    this.clients.push(client);
    return client;
  }

  /** Sends a datagram to the server, as if from an address. */
  inject(bytes: Buffer, from: string): void {
    this.#flying.push({ at: this.now + DELAY, bytes, from, to: undefined });
  }

  flush(): void {
    for (const { connection, address } of this.clients) {
      for (const datagram of connection.send(this.now)) this.#put(datagram, address, undefined);
    }
    for (const connection of this.endpoint.connections) {
      for (const datagram of connection.send(this.now))
        this.#put(datagram, "server", this.endpoint.addressOf(connection));
    }
  }

  #put(datagram: Buffer, from: string, to: string | undefined): void {
    const bytes = this.#link(Buffer.from(datagram), to === undefined);
    if (bytes !== undefined) this.#flying.push({ at: this.now + DELAY, bytes, from, to });
  }

  step(until: number): boolean {
    this.flush();
    const ends = [...this.clients.map((client) => client.connection), ...this.endpoint.connections];
    let at = Number.POSITIVE_INFINITY;
    for (const one of this.#flying) at = Math.min(at, one.at);
    for (const end of ends) at = Math.min(at, end.deadline() ?? Number.POSITIVE_INFINITY);
    if (at > until) {
      this.now = until;
      return false;
    }
    this.now = Math.max(this.now, at);
    for (const one of this.#flying.splice(0)) {
      if (one.at > this.now) this.#flying.push(one);
      else this.#deliver(one);
    }
    for (const end of ends) {
      const deadline = end.deadline();
      if (deadline !== undefined && deadline <= this.now) end.onTimeout(this.now);
      if (end.state === "closed") this.endpoint.forget(end);
    }
    return true;
  }

  #deliver({ bytes, from, to }: Flying): void {
    if (to !== undefined) {
      this.clients.find((client) => client.address === to)?.connection.receive(bytes, this.now);
      return;
    }
    const { reply } = this.endpoint.receive(bytes, from, this.now);
    if (reply === undefined) return;
    this.replies.push(reply);
    this.#put(reply, "server", from);
  }

  run(milliseconds: number, done: () => boolean = () => false): void {
    const until = this.now + milliseconds;
    for (let steps = 0; steps < 200_000; steps++) {
      if (done() || !this.step(until)) return;
    }
    throw new Error("an endless loop");
  }
}
