/** A connector in its own process, visitors of it, and an edge between them to which everything happens. Linux only. */
import type { Connection, MockEdge } from "../../src/mock-edge/index.ts";
import { startMockEdge, type StreamRequest } from "../../src/mock-edge/index.ts";
import type { Logger } from "../../src/types.ts";
import { type Connector, type Figures, startConnector } from "./connector.ts";
import { Damage } from "./damage.ts";
import { complaintsAbout, summaryOf } from "./log.ts";
import { startNameServer, zoneOf } from "./names.ts";
import { startOrigin } from "./origin.ts";
import { planStorm } from "./plan.ts";
import { freePort } from "../ports.ts";
import type { Sample } from "./steadiness.ts";
import { type Failure, type Kind, startVisitors, type VisitorsOptions } from "./visitors.ts";

export interface StormOptions {
  readonly seed: number;
  readonly stormMs: number;
  /** A fault each so often, on average. */
  readonly faultEveryMs: number;
  readonly perSecond: number;
  /** How often figures are taken during the storm; each costs a collection. */
  readonly sampleEveryMs: number;
}

export interface Outcome {
  readonly seed: number;
  readonly faults: number;
  readonly connectionsCut: number;
  readonly requests: number;
  readonly served: number;
  /** They were on a connection that was cut while they were under way. */
  readonly failedOnCut: number;
  /** No connection was registered. */
  readonly unserved: number;
  /** The edge never heard of them: a machine that has no time for its own loopback. */
  readonly lostOnTheWay: number;
  /** What can't be explained. Empty, if all is well. */
  readonly violations: readonly string[];
  readonly before: Figures;
  readonly after: Figures;
  readonly samples: readonly Sample[];
  /** How often the test's own process was not given the processor for so long that connections may have been given up. */
  readonly standstills: number;
  /** The longest time without any connection that takes visitors. */
  readonly longestOutageMs: number;
  readonly log: string;
}

const CONNECTIONS = 4;
/** Four in each of the edge's two regions. */
const HOSTS = Array.from({ length: 8 }, (_, index) => `127.0.0.${index + 1}`);
const CALM_MS = 3_000;
const NAMES_BROKEN_MS = 500;
const STANDSTILL_MS = 1_000;
const WATCH_MS = 100;
/** The longest visit takes less, where nothing goes wrong. */
const LAST_MS = 20_000;
const PATIENCE_MS = 120_000;
/** Violations are alike: the first tell what there is to know. */
const MAX_VIOLATIONS = 40;

interface Visit {
  readonly kind: Kind;
  readonly from: number;
  connection: Connection | undefined;
  reachedEdge: boolean;
  /** No connection could take it. */
  noneRoutable: boolean;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function waitFor(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`${what}: not within ${PATIENCE_MS / 1_000} s`);
    await sleep(WATCH_MS);
  }
}

/** What visitors met, and whether it can be explained. */
class Book {
  readonly violations: string[] = [];
  requests = 0;
  served = 0;
  failedOnCut = 0;
  unserved = 0;
  lostOnTheWay = 0;
  /** Set once there is one. */
  damage: Damage | undefined;
  readonly #visits = new Map<number, Visit>();
  readonly #seen = new WeakSet<Connection>();
  readonly #draining = new WeakSet<Connection>();

  complain(text: string): void {
    if (this.violations.length < MAX_VIOLATIONS) this.violations.push(text);
  }

  onStart(id: number, kind: Kind): void {
    this.requests++;
    this.#visits.set(id, {
      kind,
      from: performance.now(),
      connection: undefined,
      reachedEdge: false,
      noneRoutable: false,
    });
  }

  onVisit({ path = "" }: StreamRequest, connection: Connection | undefined, routable: boolean): void {
    const visit = this.#visits.get(Number(/id=(\d+)/.exec(path)?.[1]));
    if (visit === undefined) return;
    visit.connection = connection;
    visit.reachedEdge = true;
    visit.noneRoutable = !routable;
  }

  onEnd(id: number, failure: Failure | undefined): void {
    const visit = this.#visits.get(id);
    this.#visits.delete(id);
    if (visit === undefined) return;
    const { connection, from, kind } = visit;
    const now = performance.now();
    const where = connection === undefined ? "no connection" : describe(connection);
    const what = `${kind} ${id} on ${where}, ${Math.round(now - from)} ms: ${failure?.kind} ${failure?.detail}`;
    if (failure === undefined) this.served++;
    else if (failure.kind === "wrong") this.complain(`another answer: ${what}`);
    else if (!visit.reachedEdge) this.lostOnTheWay++;
    else if (connection === undefined && visit.noneRoutable) this.unserved++;
    else if (connection !== undefined && this.damage?.excuses(connection, from, now) === true) this.failedOnCut++;
    else this.complain(`failed without a cut: ${what}`);
  }

  /** Nothing is wrong any more: who still waits, waits for ever. */
  complainOfRest(): void {
    for (const [id, { connection, from, kind }] of this.#visits) {
      const where = connection === undefined ? "no connection" : describe(connection);
      this.complain(`never ended: ${kind} ${id} on ${where}, ${Math.round(performance.now() - from)} ms`);
    }
  }

  /** The state of a connection has changed. */
  look(connections: readonly Connection[]): void {
    for (const connection of connections) {
      if (connection.state === "draining") this.#draining.add(connection);
      if (connection.state !== "registered" || this.#seen.has(connection)) continue;
      this.#seen.add(connection);
      void connection.closed.then(() => {
        if (this.#draining.has(connection) || this.damage === undefined) return;
        if (!this.damage.explainsEnd(connection)) this.complain(`lost without a cut: ${describe(connection)}`);
      });
    }
  }
}

function describe({ error, host, id, protocol, registration, state }: Connection): string {
  const why = error === undefined ? "" : ` (${error.message})`;
  return `connection ${registration?.connIndex} by ${protocol} at ${host}, ${state}${why}, ${id}`;
}

export async function runStorm(options: StormOptions): Promise<Outcome> {
  const closers: (() => unknown)[] = [];
  try {
    return await storm(options, (close) => closers.push(close));
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}

async function storm(options: StormOptions, defer: (close: () => unknown) => void): Promise<Outcome> {
  const { faultEveryMs, perSecond, sampleEveryMs, seed, stormMs } = options;
  const book = new Book();
  const logger: Logger = { debug: look, info: look, warn() {}, error() {} };
  const origin = await startOrigin();
  defer(() => origin.close());
  const port = await freePort();
  const edge = await startMockEdge({
    edgeHosts: HOSTS,
    edgePort: port,
    logger,
    onVisit: (request, connection) =>
      book.onVisit(request, connection, connection !== undefined || edge.connections.some(({ routable }) => routable)),
  });
  defer(() => edge.close());
  function look(): void {
    book.look(edge.connections);
  }
  const names = await startNameServer(zoneOf(HOSTS, port), "server-failure");
  defer(() => names.close());
  const damage = new Damage(edge, names, HOSTS);
  book.damage = damage;
  const { token } = edge.issueTunnel();
  const cacert = await edge.caFile();
  const connector = startConnector({ token, cacert, nameServer: names.address, originPort: origin.port });
  defer(() => end(connector));
  connector.command.child.once("exit", (code, signal) => book.complain(`the connector ended: ${code ?? signal}`));
  // It has to find an edge whose names can't be resolved yet.
  setTimeout(() => (names.mode = "up"), NAMES_BROKEN_MS);
  await waitFor("all connections for the first time", async () => (await connector.readyConnections()) === CONNECTIONS);

  let visitors = startVisitors({ publicUrl: edge.publicUrl, perSecond, ...visitorsOf(book) });
  await sleep(CALM_MS);
  await visitors.stop();
  const before = await settled(connector);

  const watch = startWatch(edge, () => damage.stoodStill());
  defer(() => watch.stop());
  visitors = startVisitors({ publicUrl: edge.publicUrl, perSecond, ...visitorsOf(book) });
  const began = performance.now();
  const samples: Sample[] = [];
  const sample = async (): Promise<void> => {
    const { descriptors, heapBytes, residentBytes } = await connector.figures();
    samples.push({ atMs: performance.now() - began, heapUsed: heapBytes, rss: residentBytes, fds: descriptors });
  };
  const sampler = setInterval(() => {
    sample().catch((error: unknown) => book.complain(`no figures of the connector: ${String(error)}`));
  }, sampleEveryMs);
  defer(() => clearInterval(sampler));
  const plan = planStorm(seed, stormMs, faultEveryMs);
  for (const { atMs, fault } of plan) {
    await sleep(Math.max(0, began + atMs - performance.now()));
    damage.inflict(fault);
  }
  await sleep(Math.max(0, began + stormMs - performance.now()));
  await damage.heal();
  await waitFor("all connections again", async () => (await connector.readyConnections()) === CONNECTIONS);
  await sleep(CALM_MS);
  clearInterval(sampler);
  // The connector has long left some that the edge could not be told about.
  for (const connection of stale(edge.connections)) connection.drop();
  await Promise.race([visitors.stop(), sleep(LAST_MS)]);
  book.complainOfRest();
  watch.stop();
  await waitFor("exactly these connections", () => edge.connections.length === CONNECTIONS);
  const after = await settled(connector, before.descriptors);
  const inStreams = await connector.bytesInStreams();
  if (inStreams !== 0) book.complain(`${inStreams} bytes are held for streams that have ended`);
  const log = connector.command.output.stderr;
  const failedRequests = book.requests - book.served;
  const minutes = (performance.now() - began) / 60_000;
  const secrets = [token, JSON.parse(Buffer.from(token, "base64").toString()).s as string];
  const complaints = complaintsAbout(log, { faults: plan.length, failedRequests, minutes, secrets });
  return {
    seed,
    faults: plan.length,
    connectionsCut: damage.cutCount,
    requests: book.requests,
    served: book.served,
    failedOnCut: book.failedOnCut,
    unserved: book.unserved,
    lostOnTheWay: book.lostOnTheWay,
    violations: [...book.violations, ...complaints],
    before,
    after,
    samples,
    standstills: watch.standstills,
    longestOutageMs: watch.longestOutageMs,
    log: summaryOf(log),
  };
}

function visitorsOf(book: Book): Pick<VisitorsOptions, "firstId" | "onStart" | "onEnd"> {
  return {
    firstId: book.requests,
    onStart: (id, kind) => book.onStart(id, kind),
    onEnd: (id, failure) => book.onEnd(id, failure),
  };
}

/** All but the newest of each index. */
function stale(connections: readonly Connection[]): Connection[] {
  const newest = new Map(connections.map((connection) => [connection.registration?.connIndex, connection]));
  return connections.filter((connection) => newest.get(connection.registration?.connIndex) !== connection);
}

/** Idle connections to the origin have gone, and there are no more descriptors than there were. */
async function settled(connector: Connector, atMost?: number): Promise<Figures> {
  let last = -1;
  const until = performance.now() + 20_000;
  while (performance.now() < until) {
    const now = connector.descriptors();
    if (atMost === undefined ? now === last : now <= atMost) break;
    last = now;
    await sleep(3_000);
  }
  return await connector.figures();
}

interface Watch {
  readonly standstills: number;
  readonly longestOutageMs: number;
  stop(): void;
}

function startWatch(edge: MockEdge, onStandstill: () => void): Watch {
  let last = performance.now();
  let routableAt = last;
  let standstills = 0;
  let longestOutageMs = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - last > STANDSTILL_MS) {
      standstills++;
      onStandstill();
    }
    if (edge.connections.some(({ routable }) => routable)) routableAt = now;
    longestOutageMs = Math.max(longestOutageMs, now - routableAt);
    last = now;
  }, WATCH_MS);
  return {
    get standstills() {
      return standstills;
    },
    get longestOutageMs() {
      return longestOutageMs;
    },
    stop: () => clearInterval(timer),
  };
}

async function end({ command }: Connector): Promise<void> {
  command.child.kill("SIGKILL");
  await command.exit;
}

export function describeOutcome(outcome: Outcome): string {
  const { lostOnTheWay } = outcome;
  const { after, before, connectionsCut, failedOnCut, faults, log, longestOutageMs } = outcome;
  const { requests, seed, served, standstills, unserved } = outcome;
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const figures = ({ descriptors, heapBytes, residentBytes }: Figures): string =>
    `heap ${mib(heapBytes)}, resident ${mib(residentBytes)}, ${descriptors} descriptors`;
  return [
    `CHAOS_SEED=${seed}: ${faults} faults, ${connectionsCut} connections cut, none for ${(longestOutageMs / 1_000).toFixed(1)} s at most, ${standstills} standstills`,
    `${requests} requests: ${served} served, ${failedOnCut} failed on connections that were cut, ${unserved} while none was registered, ${lostOnTheWay} that the edge never heard of`,
    `before: ${figures(before)}`,
    `after:  ${figures(after)}`,
    log,
  ].join("\n");
}
