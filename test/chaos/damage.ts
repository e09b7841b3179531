/** Does what the plan says, and knows which connections it has cut and when: only there may requests fail. */
import type { Connection, MockEdge } from "../../src/mock-edge/index.ts";
import type { NameServer } from "./names.ts";
import type { Fault } from "./plan.ts";

/** A connection that was cut off for a while is replaced, and then ends at the end of the grace period, 30 s. */
const AFTERMATH_MS = 40_000;
/** How often a port that somebody else has taken meanwhile is tried again. */
const LISTEN_AGAIN_MS = 200;

interface Cut {
  readonly from: number;
  until: number;
}

export class Damage {
  readonly #edge: MockEdge;
  readonly #names: NameServer;
  readonly #hosts: readonly string[];
  readonly #cuts = new WeakMap<Connection, Cut[]>();
  /** May end by themselves; until then they serve. */
  readonly #leaving = new WeakSet<Connection>();
  readonly #undo = new Map<NodeJS.Timeout, () => void>();
  readonly #stopped = new Map<string, Promise<void>>();
  #cutCount = 0;

  constructor(edge: MockEdge, names: NameServer, hosts: readonly string[]) {
    this.#edge = edge;
    this.#names = names;
    this.#hosts = hosts;
  }

  /** Connections that were cut. */
  get cutCount(): number {
    return this.#cutCount;
  }

  /** Whether a request that was on the connection in this time may have failed. */
  excuses(connection: Connection, from: number, until: number): boolean {
    return this.#cuts.get(connection)?.some((cut) => cut.from <= until && from <= cut.until) ?? false;
  }

  /** Whether the connection may be closed by the connector without a word. */
  explainsEnd(connection: Connection): boolean {
    return this.#leaving.has(connection) || this.excuses(connection, performance.now(), performance.now());
  }

  inflict(fault: Fault): void {
    switch (fault.kind) {
      case "drop":
      case "reset":
      case "close":
        this.#end(this.#connection(fault.index), fault.kind);
        break;
      case "drop-all":
        for (const connection of this.#edge.connections.slice()) this.#end(connection, "drop");
        break;
      case "goaway":
        this.#goaway(this.#connection(fault.index));
        break;
      case "end-control":
      case "reset-control":
        this.#endControl(this.#connection(fault.index), fault.kind);
        break;
      case "freeze":
        this.#freeze(this.#connection(fault.index), fault.ms);
        break;
      case "black-hole-udp":
        this.#loseUdp(fault.ms);
        break;
      case "black-hole":
        this.#edge.fail({ kind: "hold-at-accept" }, { times: 4 });
        this.#loseUdp(fault.ms);
        for (const connection of this.#edge.connections)
          if (connection.protocol === "http2") this.#freeze(connection, fault.ms);
        break;
      case "certificate":
        this.#edge.useCertificate(fault.certificate);
        this.#later(fault.ms, () => this.#edge.useCertificate("valid"));
        this.#end(this.#connection(fault.index), "drop");
        break;
      case "names":
        this.#names.mode = fault.mode;
        this.#later(fault.ms, () => (this.#names.mode = "up"));
        this.#end(this.#connection(fault.index), "drop");
        break;
      case "registration":
        this.#edge.fail(fault.fault);
        this.#end(this.#connection(fault.index), "drop");
        break;
      case "restart":
        this.#restart(this.#hosts[fault.index % this.#hosts.length] ?? "", fault);
        break;
      case "restart-all":
        for (const host of this.#hosts) this.#restart(host, fault);
    }
  }

  /** The test's own process stood still: no side can be blamed for what follows. */
  stoodStill(): void {
    for (const connection of this.#edge.connections) this.#healed(this.#cut(connection));
  }

  /** Ends all that still goes wrong; resolves when every host listens. */
  async heal(): Promise<void> {
    this.#edge.clearFaults();
    for (const [timer, undo] of Array.from(this.#undo)) {
      clearTimeout(timer);
      undo();
    }
    this.#undo.clear();
    await Promise.all(this.#stopped.values());
  }

  #connection(index: number): Connection | undefined {
    const { connections } = this.#edge;
    return connections[index % Math.max(1, connections.length)];
  }

  #later(ms: number, undo: () => void): void {
    const timer = setTimeout(() => {
      this.#undo.delete(timer);
      undo();
    }, ms);
    this.#undo.set(timer, undo);
  }

  #cut(connection: Connection): Cut {
    const cut = { from: performance.now(), until: Number.POSITIVE_INFINITY };
    const before = this.#cuts.get(connection);
    if (before === undefined) {
      this.#cutCount++;
      this.#cuts.set(connection, [cut]);
    } else before.push(cut);
    return cut;
  }

  #healed(cut: Cut): void {
    cut.until = performance.now() + AFTERMATH_MS;
  }

  #end(connection: Connection | undefined, how: "drop" | "reset" | "close"): void {
    if (connection === undefined) return;
    this.#cut(connection);
    connection[how]();
  }

  #goaway(connection: Connection | undefined): void {
    if (connection === undefined) return;
    this.#leaving.add(connection);
    // QUIC has none: the mock edge closes its connection.
    if (connection.protocol === "quic") this.#cut(connection);
    connection.goaway();
  }

  #endControl(connection: Connection | undefined, kind: "end-control" | "reset-control"): void {
    if (connection === undefined) return;
    this.#leaving.add(connection);
    // Over QUIC the edge can't be told any more that others have taken over, and sends visitors to the connection until it ends.
    if (connection.protocol === "quic") this.#cut(connection);
    if (kind === "end-control") connection.endControlStream();
    else connection.resetControlStream();
  }

  #freeze(connection: Connection | undefined, ms: number): void {
    if (connection === undefined) return;
    const cut = this.#cut(connection);
    connection.freeze();
    this.#later(ms, () => {
      this.#healed(cut);
      if (connection.state !== "closed") connection.thaw();
    });
  }

  #loseUdp(ms: number): void {
    const cuts = this.#edge.connections.filter(({ protocol }) => protocol === "quic").map((one) => this.#cut(one));
    this.#edge.blockUdp(true);
    this.#later(ms, () => {
      this.#edge.blockUdp(false);
      for (const cut of cuts) this.#healed(cut);
    });
  }

  #restart(host: string, { abrupt, ms }: { readonly abrupt: boolean; readonly ms: number }): void {
    if (this.#stopped.has(host)) return;
    for (const connection of this.#edge.connections.slice()) {
      if (connection.host !== host) continue;
      this.#cut(connection);
      if (abrupt) connection.reset();
    }
    const stopped = this.#edge.stopListening(host);
    let over = (): void => {};
    const wait = new Promise<void>((resolve) => (over = resolve));
    this.#later(ms, () => over());
    this.#stopped.set(
      host,
      Promise.all([stopped, wait])
        .then(() => this.#listenAgain(host))
        .then(() => void this.#stopped.delete(host)),
    );
  }

  async #listenAgain(host: string): Promise<void> {
    for (let attempt = 0; attempt < 100; attempt++) {
      try {
        await this.#edge.listenAgain(host);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, LISTEN_AGAIN_MS));
      }
    }
    throw new Error(`${host} does not listen again`);
  }
}
