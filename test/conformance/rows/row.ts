/** What a conformance row is: something that the edge does, and what a connector does about it, as plain JSON. */
import type { MockEdge, MockEdgeOptions } from "../../../src/mock-edge/index.ts";
import type { EdgeProtocol } from "../../../src/types.ts";
import type { TestOrigin } from "./origin.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface StartOptions {
  /** Over which it connects; default: what the runner was made for. */
  readonly protocol?: EdgeProtocol;
  /** Connections to the edge; default 1. */
  readonly connections?: number;
  /** Addresses of the edge; default: one more than connections, so that a refused one has somewhere to go. */
  readonly addresses?: number;
  readonly graceMs?: number;
  readonly rpcTimeoutMs?: number;
  /** Default: the test's origin. */
  readonly url?: string;
  /** Limit of flows that is given locally; default: none is. */
  readonly maxActiveFlows?: number | undefined;
  /** Variables that it finds set; default: none. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A connector that runs. */
export interface Instance {
  /** Asks it to end as SIGTERM does. */
  stop(): void;
  /** Resolves with its exit status. */
  readonly exit: Promise<number>;
  /** `GET /ready` of its metrics server. */
  ready(): Promise<{ readonly status: number; readonly body: string }>;
  /** Ends it whatever it does. */
  kill(): Promise<void>;
}

/** A kind of connector. */
export interface Subject {
  readonly name: string;
  start(edge: MockEdge, token: string, options: Required<StartOptions>): Instance;
}

export interface RowContext {
  readonly edge: MockEdge;
  readonly origin: TestOrigin;
  /** Starts a connector, which the runner ends. */
  readonly start: (options?: StartOptions) => Instance;
}

export interface Row {
  /** As in the table of cases. */
  readonly id: string;
  /** What the edge, or the origin, does. */
  readonly title: string;
  /** About what only this transport has; default: both. */
  readonly only?: EdgeProtocol;
  /** Of a mock edge and a connector of its own; without it the row shares one whose connection is registered. */
  readonly own?: MockEdgeOptions;
  run(context: RowContext): Promise<Json>;
}

/** Ids, ports and times of one run, as nothing that two runs would differ in. */
export function normalise(value: Json): Json {
  if (typeof value === "string") {
    return value
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uuid>")
      .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:<port>")
      .replace(/(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/g, "<date>");
  }
  if (Array.isArray(value)) return value.map(normalise);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, normalise(item)]));
}

/** Rejects when `promise` takes longer: a row that hangs says where. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until a connector counts as ready itself: its edge may know of the registration before it does. */
export async function untilReady(instance: Instance, connections = 1): Promise<void> {
  for (;;) {
    const { status, body } = await instance.ready();
    if (status === 200 && body.includes(`"readyConnections":${connections},`)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whether `condition` comes true within `ms`; for rows in which one connector does something and another nothing. */
export async function comesTrue(ms: number, condition: () => boolean): Promise<boolean> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}
