/**
 * A client and a server on a simulated path, in virtual time: carries out a scenario, and checks after each step what must always
 * hold. Fails with an error that names the seed.
 */
import type { QuicConnection } from "../../../../src/protocol/quic/connection.ts";
import { localParameters } from "../../../../src/protocol/quic/connection/local-parameters.ts";
import type { TransportParameters } from "../../../../src/protocol/quic/transport-parameters.ts";
import { createMemoryBudget } from "../../../../src/protocol/memory-budget/budget.ts";
import { CLIENT_ADDRESS, Pair } from "../pair.ts";
import { Auditor, type Told } from "./auditor.ts";
import { EventQueue } from "./event-queue.ts";
import { Link } from "./link.ts";
import { Random } from "./random.ts";
import type { Scenario, Side, StreamPlan } from "./scenario.ts";
import { StreamEnd, type StreamHost } from "./stream-end.ts";

const CLOSE_CODE = 7;

/** More steps than any run needs that comes to its end. */
const MAX_STEPS = 300_000;
/** Steps without time passing: a spin. */
const MAX_STEPS_AT_ONCE = 2_000;
/** Virtual time that even the worst path needs, with its outages and back-offs. */
const MAX_TIME = 3_600_000;

const DATAGRAM_HEAD = 4;

export interface WorldStats {
  readonly steps: number;
  readonly packets: number;
  /** Virtual milliseconds. */
  readonly handshakeTime: number;
  readonly transferTime: number;
  readonly totalTime: number;
  /** What each end sends, before the close. */
  readonly mtu: { readonly client: number; readonly server: number };
}

/** The error that lies deepest: of a handler, its own. */
function reasonOf(error: Error): string {
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message;
}

class Failure extends Error {}

export class World implements StreamHost {
  readonly #scenario: Scenario;
  readonly #pair: Pair;
  readonly #budgets = { client: createMemoryBudget(), server: createMemoryBudget() };
  readonly #events = new EventQueue();
  readonly #links: { readonly client: Link; readonly server: Link };
  readonly #auditors: { readonly client: Auditor; readonly server: Auditor };
  readonly #plans = new Map<number, StreamPlan>();
  readonly #ends: StreamEnd[] = [];
  /** Plans that wait for the peer to allow another stream. */
  readonly #waiting: StreamPlan[] = [];
  readonly #sentDatagrams: { readonly client: Set<number>; readonly server: Set<number> };
  #unopened: number;
  #now: number;
  #steps = 0;
  #stepsAtOnce = 0;
  #touched = false;
  #isClosing = false;
  #clientAddress = CLIENT_ADDRESS;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    const { seed, suite, helloFilling, filling, client, server, clientParameters, serverParameters } = scenario;
    this.#pair = new Pair({
      client: { ...client, budget: this.#budgets.client },
      server: { ...server, budget: this.#budgets.server },
      clientParameters,
      serverParameters,
      tls: { suite, helloFilling, filling, ticket: seed % 2 === 0 },
    });
    this.#now = this.#pair.now;
    const random = new Random(seed ^ 0x5eed);
    this.#links = { client: new Link(scenario.toServer, random), server: new Link(scenario.toClient, random) };
    const announced = {
      client: localParameters(client, { initialSourceConnectionId: this.#pair.clientId, ...clientParameters }),
      server: localParameters(server, { initialSourceConnectionId: this.#pair.serverId, ...serverParameters }),
    };
    const auditor = (side: Side, peer: TransportParameters): Auditor =>
      new Auditor({
        side,
        suite,
        originalDestination: this.#pair.originalDestination,
        secrets: this.#pair.secrets[side],
        idLength: side === "client" ? this.#pair.serverId.length : this.#pair.clientId.length,
        maxMtu: Math.min(1500, peer.maxUdpPayloadSize),
        peer,
        fail: (what) => this.fail(what),
      });
    this.#auditors = { client: auditor("client", announced.server), server: auditor("server", announced.client) };
    this.#auditors.client.peer = this.#auditors.server;
    this.#auditors.server.peer = this.#auditors.client;
    this.#sentDatagrams = { client: new Set(), server: new Set() };
    this.#unopened = scenario.streams.length;
    for (const side of ["client", "server"] as const) this.#handle(side);
  }

  /** Runs the scenario to its end. */
  run(): WorldStats {
    try {
      return this.#run();
    } catch (error) {
      throw error instanceof Failure ? error : new Failure(this.#report(String(error)), { cause: error });
    }
  }

  #run(): WorldStats {
    const start = this.#now;
    this.#until("the handshake", () => this.#recorder("client").confirmed && this.#recorder("server").confirmed);
    const connectedAt = this.#now;
    this.#plan();
    this.#until("all streams", () => this.#unopened === 0 && this.#ends.every((end) => end.done));
    const doneAt = this.#now;
    this.#until("silence", () => this.#isSettled());
    const { client, server } = this.#auditors;
    const mtu = { client: this.#pair.client.stats.mtu, server: this.#pair.server.stats.mtu };
    this.#close();
    this.#until("the end", () => this.#isOver(), true);
    this.#checkEnd();
    return {
      steps: this.#steps,
      packets: client.packets + server.packets,
      handshakeTime: connectedAt - start,
      transferTime: doneAt - connectedAt,
      totalTime: this.#now - start,
      mtu,
    };
  }

  // --- StreamHost ---

  touch(): void {
    this.#touched = true;
  }

  later(delay: number, action: () => void): void {
    this.#events.add(this.#now + delay, action);
  }

  fail(what: string): never {
    throw new Failure(this.#report(what));
  }

  #report(what: string): string {
    const { seed } = this.#scenario;
    const { client, server } = this.#pair;
    return [
      `seed ${seed} at ${this.#now} ms, step ${this.#steps}: ${what}`,
      `client ${client.state} ${JSON.stringify(client.stats)}`,
      `server ${server.state} ${JSON.stringify(server.stats)}`,
      ...this.#ends.filter((end) => !end.done).map((end) => end.what),
      `run it again: QUIC_SEED=${seed} npx vitest run test/protocol/quic/simulator`,
    ].join("\n");
  }

  // --- The ends ---

  #connection(side: Side): QuicConnection {
    return this.#pair[side];
  }

  #recorder(side: Side): Pair["atClient"] {
    return side === "client" ? this.#pair.atClient : this.#pair.atServer;
  }

  #handle(side: Side): void {
    const recorder = this.#recorder(side);
    recorder.onNewStream = (sink) => {
      const plan = this.#plans.get(sink.stream.id) ?? this.fail(`a stream that nobody opened: ${sink.stream.id}`);
      this.#ends.push(new StreamEnd(sink.stream, plan, false, this));
    };
    recorder.onStreamsAvailable = () => this.#events.add(this.#now, () => this.#openWaiting());
  }

  #plan(): void {
    const { streams, datagrams, keyUpdates, moves } = this.#scenario;
    for (const plan of streams) this.later(plan.at, () => this.#open(plan));
    for (const [number, { from, at, size }] of datagrams.entries()) {
      this.later(at, () => {
        const bytes = Buffer.alloc(size, number);
        bytes.writeUInt32BE(number);
        if (this.#connection(from).sendDatagram(bytes)) this.#sentDatagrams[from].add(number);
        this.touch();
      });
    }
    for (const { at, to } of moves) this.later(at, () => (this.#clientAddress = to));
    for (const { from, at } of keyUpdates) this.later(at, () => void this.#connection(from).keyUpdate());
  }

  #open(plan: StreamPlan): void {
    const stream = this.#connection(plan.opener).openStream(plan.bidirectional);
    this.touch();
    if (stream === undefined) {
      this.#waiting.push(plan);
      return;
    }
    this.#unopened--;
    this.#plans.set(stream.id, plan);
    this.#ends.push(new StreamEnd(stream, plan, true, this));
  }

  #openWaiting(): void {
    for (const plan of this.#waiting.splice(0)) this.#open(plan);
  }

  #close(): void {
    this.#isClosing = true;
    this.#connection(this.#scenario.closer).close(CLOSE_CODE, "done", this.#now);
  }

  #isSettled(): boolean {
    const { client, server } = this.#pair;
    return (
      client.stats.bytesInFlight === 0 &&
      server.stats.bytesInFlight === 0 &&
      client.openPeerStreams === 0 &&
      server.openPeerStreams === 0 &&
      this.#budgets.client.held === 0 &&
      this.#budgets.server.held === 0
    );
  }

  #isOver(): boolean {
    return this.#pair.client.state === "closed" && this.#pair.server.state === "closed";
  }

  // --- Time ---

  #until(what: string, done: () => boolean, mayBeIdle = false): void {
    const start = this.#now;
    while (!done()) {
      if (this.#steps++ > MAX_STEPS) this.fail(`waits for ${what}, too many steps`);
      if (this.#now - start > MAX_TIME) this.fail(`waits for ${what}, too long`);
      this.#flush();
      if (done()) return;
      const at = this.#next();
      if (at === undefined) return mayBeIdle ? undefined : this.fail(`waits for ${what}, and nothing will happen`);
      this.#advance(at);
      this.#check();
    }
  }

  /** Both ends send what they have to say. */
  #flush(): void {
    for (let turn = 0; ; turn++) {
      if (turn > MAX_STEPS_AT_ONCE) this.fail("always wants to send more");
      this.#touched = false;
      let sent = 0;
      for (const side of ["client", "server"] as const) {
        const connection = this.#connection(side);
        for (const datagram of connection.send(this.#now)) {
          sent++;
          this.#transmit(side, Buffer.from(datagram));
        }
        connection.recycle();
      }
      if (sent === 0 && !this.#touched) return;
    }
  }

  #transmit(from: Side, datagram: Buffer): void {
    const auditor = this.#auditors[from];
    const told: Told = auditor.onSent(datagram);
    const to = this.#connection(from === "client" ? "server" : "client");
    // Servers have one address, of which nobody takes note.
    const address = from === "client" ? this.#clientAddress : "";
    const { sendAddress } = this.#pair.server;
    if (from === "server" && sendAddress !== this.#clientAddress && !this.#scenario.oldAddressesLive) return;
    for (const { at, bytes } of this.#links[from].send(datagram, this.#now)) {
      this.#events.add(at, () => {
        auditor.onArrived(told, bytes.length);
        to.receive(bytes, this.#now, address);
      });
    }
  }

  #next(): number | undefined {
    let at = this.#events.next;
    for (const side of ["client", "server"] as const) {
      const deadline = this.#connection(side).deadline();
      if (deadline !== undefined && (at === undefined || deadline < at)) at = deadline;
    }
    return at;
  }

  #advance(at: number): void {
    if (Number.isNaN(at)) this.fail("a deadline that is not a number");
    if (at > this.#now) {
      this.#now = at;
      this.#stepsAtOnce = 0;
    } else if (++this.#stepsAtOnce > MAX_STEPS_AT_ONCE) {
      this.fail("spins");
    }
    this.#events.run(this.#now);
    for (const side of ["client", "server"] as const) {
      const connection = this.#connection(side);
      const deadline = connection.deadline();
      if (deadline !== undefined && deadline <= this.#now) connection.onTimeout(this.#now);
    }
  }

  // --- What always holds ---

  #check(): void {
    for (const side of ["client", "server"] as const) {
      const { bytesInFlight, congestionWindow, mtu, rtt } = this.#connection(side).stats;
      if (bytesInFlight < 0) this.fail(`${side}: ${bytesInFlight} bytes in flight`);
      if (!(congestionWindow >= 2 * mtu)) this.fail(`${side}: a congestion window of ${congestionWindow}`);
      if (mtu < 1200) this.fail(`${side}: an MTU of ${mtu}`);
      if (!(rtt >= 0)) this.fail(`${side}: a round-trip time of ${rtt}`);
      const { closed } = this.#recorder(side);
      if (closed !== undefined && !this.#isClosing) this.fail(`${side} closed: ${reasonOf(closed)}`);
    }
  }

  #checkEnd(): void {
    const { closer } = this.#scenario;
    const other: Side = closer === "client" ? "server" : "client";
    const { closed } = this.#recorder(other);
    // The CONNECTION_CLOSE may be lost.
    const asExpected =
      closed?.end === "peer-application" ? closed.errorCode === CLOSE_CODE : closed?.end === "idle-timeout";
    if (this.#recorder(closer).closed?.end !== "closed" || !asExpected) {
      this.fail(`${other} ended by ${String(closed)}`);
    }
    for (const side of ["client", "server"] as const) {
      const sent = this.#sentDatagrams[side === "client" ? "server" : "client"];
      const seen = new Set<number>();
      for (const datagram of this.#recorder(side).datagrams) {
        const number = datagram.readUInt32BE();
        const { size } = this.#scenario.datagrams[number] ?? this.fail(`a datagram that was not sent: ${number}`);
        const isWhole = datagram.length === size && datagram.subarray(DATAGRAM_HEAD).every((byte) => byte === number);
        if (!isWhole || !sent.has(number) || seen.has(number))
          this.fail(`${side}: datagram ${number} is wrong, or came twice`);
        seen.add(number);
      }
      if (this.#connection(side).deadline() !== undefined) this.fail(`${side}: still waits for something`);
    }
  }
}

/** Runs a scenario to its end; throws an error that names the seed when something does not hold. */
export function simulate(scenario: Scenario): WorldStats {
  return new World(scenario).run();
}
