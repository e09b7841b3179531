/** What goes wrong during a storm, and when: plain data, so that a seed repeats it. */
import type { CertificateKind, Fault as EdgeFault } from "../../src/mock-edge/index.ts";
import { seededRandom } from "../connector/fake-edge.ts";
import type { DnsMode } from "./names.ts";

/** `index` counts connections, or hosts, modulo how many there are by then. */
export type Fault =
  /** The edge's end is gone: TCP is closed, QUIC falls silent; or TCP is reset; or it ends in order. */
  | { readonly kind: "drop" | "reset" | "close" | "goaway" | "end-control" | "reset-control"; readonly index: number }
  | { readonly kind: "drop-all" }
  /** The edge neither reads nor writes for a while. */
  | { readonly kind: "freeze"; readonly index: number; readonly ms: number }
  /** UDP is lost. */
  | { readonly kind: "black-hole-udp"; readonly ms: number }
  /** UDP is lost, and TCP is taken and then not read, once for each connection. */
  | { readonly kind: "black-hole"; readonly ms: number }
  /** With a connection that is dropped, so that somebody meets it. */
  | { readonly kind: "certificate"; readonly certificate: CertificateKind; readonly index: number; readonly ms: number }
  | { readonly kind: "names"; readonly mode: DnsMode; readonly index: number; readonly ms: number }
  | { readonly kind: "registration"; readonly fault: EdgeFault; readonly index: number }
  /** A host goes, with or without a goodbye, and comes again. */
  | { readonly kind: "restart"; readonly index: number; readonly ms: number; readonly abrupt: boolean }
  | { readonly kind: "restart-all"; readonly ms: number; readonly abrupt: boolean };

export interface Step {
  readonly atMs: number;
  readonly fault: Fault;
}

type Make = (random: () => number) => Fault;

function whole(random: () => number, below: number): number {
  return Math.floor(random() * below);
}

function oneOf<T>(random: () => number, values: readonly [T, ...T[]]): T {
  return values[whole(random, values.length)] ?? values[0];
}

const BAD_CERTIFICATES = ["expired", "wrong-name", "untrusted"] as const;
const BAD_NAMES = ["silent", "server-failure", "unknown-name", "garbage"] as const;
const BAD_REGISTRATIONS: readonly [EdgeFault, ...EdgeFault[]] = [
  { kind: "never-answer" },
  { kind: "duplicate" },
  { kind: "refuse", cause: "the edge is busy", shouldRetry: true, retryAfterMs: 1_000 },
  { kind: "exception", reason: "the edge broke" },
  { kind: "delay", ms: 2_000 },
  { kind: "drop" },
  { kind: "end-control-stream" },
  { kind: "reset-control-stream" },
  { kind: "uuid-length", length: 5 },
  { kind: "malformed" },
  { kind: "no-control-stream" },
];

const index: (random: () => number) => number = (random) => whole(random, 64);

/** Each comes once before any comes again. */
const KINDS: readonly Make[] = [
  (random) => ({ kind: "drop", index: index(random) }),
  (random) => ({ kind: "reset", index: index(random) }),
  (random) => ({ kind: "close", index: index(random) }),
  (random) => ({ kind: "goaway", index: index(random) }),
  (random) => ({ kind: "end-control", index: index(random) }),
  (random) => ({ kind: "reset-control", index: index(random) }),
  () => ({ kind: "drop-all" }),
  (random) => ({ kind: "freeze", index: index(random), ms: 1_000 + whole(random, 9_000) }),
  (random) => ({ kind: "freeze", index: index(random), ms: 1_000 + whole(random, 9_000) }),
  (random) => ({ kind: "black-hole-udp", ms: 500 + whole(random, 3_000) }),
  (random) => ({ kind: "black-hole-udp", ms: 6_000 + whole(random, 8_000) }),
  (random) => ({ kind: "black-hole", ms: 2_000 + whole(random, 4_000) }),
  (random) => ({
    kind: "certificate",
    certificate: oneOf(random, BAD_CERTIFICATES),
    index: index(random),
    ms: 1_000 + whole(random, 4_000),
  }),
  (random) => ({
    kind: "names",
    mode: oneOf(random, BAD_NAMES),
    index: index(random),
    ms: 1_000 + whole(random, 9_000),
  }),
  (random) => ({ kind: "registration", fault: oneOf(random, BAD_REGISTRATIONS), index: index(random) }),
  (random) => ({ kind: "registration", fault: oneOf(random, BAD_REGISTRATIONS), index: index(random) }),
  (random) => ({ kind: "restart", index: index(random), ms: 200 + whole(random, 3_000), abrupt: random() < 0.5 }),
  (random) => ({ kind: "restart-all", ms: 200 + whole(random, 1_800), abrupt: random() < 0.5 }),
];

function shuffled<T>(values: readonly T[], random: () => number): T[] {
  const rest = [...values];
  const order: T[] = [];
  while (rest.length > 0) order.push(...rest.splice(whole(random, rest.length), 1));
  return order;
}

/** Faults from the start to `durationMs`, on average one each `everyMs`. */
export function planStorm(seed: number, durationMs: number, everyMs: number): readonly Step[] {
  const random = seededRandom(seed);
  const steps: Step[] = [];
  let deck: Make[] = [];
  for (let atMs = 0; atMs < durationMs; atMs += random() * 2 * everyMs) {
    if (deck.length === 0) deck = shuffled(KINDS, random);
    const fault = deck.pop()?.(random);
    if (fault !== undefined) steps.push({ atMs: Math.round(atMs), fault });
  }
  return steps;
}
