/**
 * A tunnel and real mock edges over loopback, in virtual time: bytes and handshakes are real, the clock is the test's. So what a
 * connector does in minutes is seen in a moment, and no test depends on how busy the machine is.
 */
import http from "node:http";
import { beforeAll, vi } from "vitest";
import { connect, type ConnectOptions, type Tunnel } from "../../../src/index.ts";
import { type Connection, type MockEdge, type MockEdgeOptions, startMockEdge } from "../../../src/mock-edge/index.ts";
import type { VisitorStream } from "../../../src/mock-edge/visitor-stream.ts";
import type { ByteChannel, EdgeProtocol } from "../../../src/types.ts";
import { type ControlLog, logMessages } from "../../conformance/rows/control-messages.ts";
import { type LogLine, recordingLogger } from "../fake-edge.ts";

/** The clock goes on by so much at a time; whatever is on its way arrives in between. */
const STEP_MS = 20;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What was sent arrives on loopback within a turn or two, however long these take. */
async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await turn();
}

let isAdvancing = false;

export async function advance(ms: number): Promise<void> {
  // Two at once would make time go twice as fast.
  if (isAdvancing) throw new Error("time goes on already: await the other one first");
  isAdvancing = true;
  try {
    for (let left = ms; left > 0; left -= STEP_MS) {
      await vi.advanceTimersByTimeAsync(Math.min(STEP_MS, left));
      await settle();
    }
  } finally {
    isAdvancing = false;
  }
}

/** Lets time go on until `condition` holds, and returns how much of it went by. */
export async function until(condition: () => boolean, limitMs = 120_000): Promise<number> {
  const begun = performance.now();
  while (!condition()) {
    if (performance.now() - begun > limitMs) throw new Error(`not within ${limitMs} ms: ${condition.toString()}`);
    await advance(STEP_MS);
  }
  return performance.now() - begun;
}

/** Lets time go on until `promise` is settled. */
export async function pumped<T>(promise: Promise<T>, limitMs = 120_000): Promise<T> {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  promise.then(mark, mark);
  await until(() => settled, limitMs);
  return await promise;
}

export interface VirtualRig {
  /** The first, or only, edge. */
  readonly edge: MockEdge;
  readonly edges: readonly MockEdge[];
  readonly lines: LogLine[];
  /** Begins to connect; `tunnel` resolves with the first registration, as `connect` does. */
  readonly start: (options?: Partial<ConnectOptions>) => { readonly tunnel: Promise<Tunnel> };
  /** The same, and waits until all connections are registered, here and there. */
  readonly open: (options?: Partial<ConnectOptions>) => Promise<Tunnel>;
  readonly logged: (text: string) => LogLine[];
}

export interface VirtualOptions extends MockEdgeOptions {
  /** How many edges there are; each is a region of its own. */
  readonly edges?: number;
}

/** Modules that are loaded when they are first needed take their time from the real clock, which a scenario's does not wait for. */
async function loadAll(): Promise<void> {
  const edge = await startMockEdge();
  for (const protocol of ["http2", "quic"] as const) {
    const tunnel = await connect({
      token: edge.issueToken(),
      edge: edge.edgeAddress,
      cacert: edge.caPem,
      protocol,
      origin: () => new Response("served"),
      metrics: 0,
      healthCheck: { url: edge.publicUrl },
    });
    await (await edge.fetch("/")).text();
    await fetch(`${tunnel.metricsUrl}/ready`);
    await tunnel.close({ grace: 0 });
  }
  await edge.close();
}

beforeAll(loadAll, 120_000);

/** Runs a scenario. Tests of a file share the clock, and so run one after another. */
export async function inVirtualTime(
  protocol: EdgeProtocol,
  run: (rig: VirtualRig) => Promise<void>,
  { edges: count = 1, ...options }: VirtualOptions = {},
): Promise<void> {
  const edges = await Promise.all(
    Array.from({ length: count }, () => startMockEdge({ ...options, ...(count > 1 ? { acceptAnyToken: true } : {}) })),
  );
  const [edge] = edges;
  if (edge === undefined) throw new Error("no edge");
  const { logger, lines } = recordingLogger();
  const tunnels: Promise<Tunnel | undefined>[] = [];
  const abort = new AbortController();
  vi.useFakeTimers({
    now: Date.now(),
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"],
  });
  const start = (overrides: Partial<ConnectOptions> = {}): { readonly tunnel: Promise<Tunnel> } => {
    const { haConnections = 1 } = overrides;
    const tunnel = connect({
      token: edge.issueToken(),
      // One more than connections, so that a refused one has somewhere to go.
      edge: Array.from({ length: haConnections + 1 }, (_, i) => edges[i % count]?.edgeAddress ?? ""),
      cacert: edges.map(({ caPem }) => caPem).join("\n"),
      protocol,
      haConnections: 1,
      origin: () => new Response("served"),
      healthCheck: false,
      logger,
      signal: abort.signal,
      ...overrides,
    });
    tunnels.push(tunnel.catch(() => undefined));
    return { tunnel };
  };
  const open = async (overrides: Partial<ConnectOptions> = {}): Promise<Tunnel> => {
    const { haConnections = 1 } = overrides;
    const tunnel = await pumped(start(overrides).tunnel);
    await until(
      () =>
        tunnel.connections.filter(({ state }) => state === "registered").length === haConnections &&
        edges.flatMap(({ connections }) => connections).filter(({ state }) => state === "registered").length ===
          haConnections,
    );
    return tunnel;
  };
  try {
    await run({
      edge,
      edges,
      lines,
      start,
      open,
      logged: (text) => lines.filter(({ message }) => message.includes(text)),
    });
  } finally {
    abort.abort();
    await pumped(
      Promise.all([
        ...tunnels.map(async (tunnel) => await (await tunnel)?.close({ grace: 0 })),
        ...edges.map((one) => one.close()),
      ]),
    ).finally(() => vi.useRealTimers());
  }
}

/** Asks through the tunnel; `undefined` where no answer came. */
export async function ask(edge: MockEdge, path = "/"): Promise<{ status: number; text: string } | undefined> {
  const asked = edge.fetch(path).then(
    async (response) => ({ status: response.status, text: await response.text() }),
    () => undefined,
  );
  return await pumped(asked);
}

type Metrics = Pick<Tunnel, "metricsUrl">;

/** What the tunnel's metrics server answers, as JSON. */
export async function getJson({ metricsUrl = "" }: Metrics, path: string): Promise<{ status: number; body: unknown }> {
  const asked = new Promise<{ status: number; body: unknown }>((resolve, reject) => {
    http
      .get(metricsUrl + path, { agent: false }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown }));
      })
      .on("error", reject);
  });
  return await pumped(asked);
}

export const readiness = (tunnel: Metrics): ReturnType<typeof getJson> => getJson(tunnel, "/ready");

/** The edge's side of the next control stream by hand; `log` is what the connector says on it. */
export function serveControl(edge: MockEdge, serve: (channel: ByteChannel) => void): { log: ControlLog | undefined } {
  const served: { log: ControlLog | undefined } = { log: undefined };
  edge.fail({
    kind: "control",
    serve(channel) {
      serve(channel);
      served.log = logMessages(channel);
    },
  });
  return served;
}

export const stateOf = (edge: MockEdge): readonly Connection["state"][] => edge.connections.map(({ state }) => state);

/** An origin that answers when it is let. */
export function heldOrigin() {
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const arrived: string[] = [];
  const origin = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    arrived.push(pathname);
    if (pathname === "/hold") await held;
    return new Response("finished");
  };
  return { origin, arrived, letGo: () => letGo() };
}

/** Reads a stream to its end: what came, and whether it ended in order. */
export function readAll(stream: VisitorStream | undefined): { text: string; ended: boolean; broken: boolean } {
  const read = { text: "", ended: false, broken: false };
  stream?.on("data", (chunk: Buffer) => {
    read.text += chunk.toString();
  });
  stream?.on("end", () => {
    read.ended = true;
  });
  stream?.on("error", () => {
    read.broken = true;
  });
  return read;
}

/** A promise, and whether it is settled. */
export function begin(promise: Promise<unknown>): { done: boolean } {
  const state = { done: false };
  const mark = (): void => {
    state.done = true;
  };
  promise.then(mark, mark);
  return state;
}
