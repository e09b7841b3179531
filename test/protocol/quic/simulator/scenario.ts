/** What happens in a simulated run: the path, the settings of both ends, what they do. All of it follows from the seed. */
import type { ConnectionOptions } from "../../../../src/protocol/quic/connection/options.ts";
import type { SuiteName } from "../../../../src/protocol/quic/protection.ts";
import type { TransportParameters } from "../../../../src/protocol/quic/transport-parameters.ts";

import { CLIENT_ADDRESS } from "../pair.ts";
import { type LinkOptions, PERFECT } from "./link.ts";
import { Random } from "./random.ts";

export type Side = "client" | "server";

export interface StreamPlan {
  readonly opener: Side;
  readonly bidirectional: boolean;
  readonly at: number;
  /** Bytes that the opener says, and those of the answer. */
  readonly forward: number;
  readonly back: number;
  /** Bytes of one write. */
  readonly chunk: number;
  /** Milliseconds from the last bytes to the end of either direction; undefined: one comes with the other. */
  readonly finAfter: number | undefined;
  /** Milliseconds until received bytes are dealt with. */
  readonly consumeAfter: number;
  /** The opener breaks off after so many bytes written. */
  readonly resetAfter: number | undefined;
  /** Whoever receives what the opener says wants no more after so many bytes. */
  readonly stopAfter: number | undefined;
}

export interface Scenario {
  readonly seed: number;
  readonly toServer: LinkOptions;
  readonly toClient: LinkOptions;
  readonly suite: SuiteName;
  readonly helloFilling: number;
  readonly filling: number;
  readonly client: ConnectionOptions;
  readonly server: ConnectionOptions;
  readonly clientParameters: Partial<TransportParameters>;
  readonly serverParameters: Partial<TransportParameters>;
  readonly streams: readonly StreamPlan[];
  /** When each side sends a DATAGRAM frame, of so many bytes. */
  readonly datagrams: readonly { readonly from: Side; readonly at: number; readonly size: number }[];
  readonly keyUpdates: readonly { readonly from: Side; readonly at: number }[];
  /** When the client's address changes, as behind a NAT, or to another network. */
  readonly moves: readonly { readonly at: number; readonly to: string }[];
  /** What is sent to an address that it had before still comes to it. */
  readonly oldAddressesLive: boolean;
  /** Who closes in the end. */
  readonly closer: Side;
}

const NEVER = Number.POSITIVE_INFINITY;

/** No connection ends by itself here, however bad the path is. */
const PATIENT = { maxIdleTimeout: 900_000, handshakeTimeout: 900_000, handshakeIdleTimeout: 900_000 };

const SUITES: readonly SuiteName[] = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
];

function link(random: Random, delay: number): LinkOptions {
  const isBad = random.chance(0.6);
  const some = (most: number, likely = 0.4): number => (isBad && random.chance(likely) ? most * random.next() ** 2 : 0);
  const isSlow = random.chance(0.3);
  const bandwidth = isSlow ? random.logarithmic(30, 5_000) : NEVER;
  const isHole = random.chance(0.1);
  const isOut = random.chance(0.1);
  const outageFrom = isOut ? random.between(0, 5_000) : NEVER;
  const mtu = random.chance(0.5) ? 1500 : random.integer(1200, 1500);
  return {
    delay,
    jitter: random.chance(0.3) ? random.between(0, delay / 4) : 0,
    loss: some(0.3, 0.7),
    duplicate: some(0.2),
    corrupt: some(0.1),
    reorder: some(0.3),
    reorderBy: random.between(0, Math.max(10, delay)),
    burst: some(0.03),
    burstLength: random.integer(2, 15),
    mtu,
    laterMtu: isHole ? random.integer(1200, mtu) : mtu,
    laterMtuAt: isHole ? random.between(0, 10_000) : NEVER,
    outageFrom,
    outageTo: isOut ? outageFrom + random.between(50, 3_000) : NEVER,
    bandwidth,
    queue: bandwidth === NEVER ? NEVER : random.logarithmic(10_000, 200_000),
  };
}

function options(random: Random): ConnectionOptions {
  return {
    ...PATIENT,
    congestion: random.pick(["cubic", "new-reno"] as const),
    initialMtu: random.pick([1200, 1200, 1252]),
    maxMtu: random.pick([1200, 1452, 1452, 1500]),
    ...(random.chance(0.2) ? { keyUpdateInterval: random.integer(10, 100) } : {}),
    ...(random.chance(0.2) ? { keepAlive: random.between(50, 5_000) } : {}),
  };
}

function parameters(random: Random): Partial<TransportParameters> {
  if (random.chance(0.4)) return {};
  const window = (): number => Math.round(random.logarithmic(500, 200_000));
  return {
    initialMaxData: window(),
    initialMaxStreamDataBidiLocal: window(),
    initialMaxStreamDataBidiRemote: window(),
    initialMaxStreamDataUni: window(),
    initialMaxStreamsBidi: random.integer(1, 20),
    initialMaxStreamsUni: random.integer(1, 20),
  };
}

function streams(random: Random, seconds: number): StreamPlan[] {
  const plans: StreamPlan[] = [];
  let bytes = 0;
  const count = Math.round(random.logarithmic(1, 40));
  const size = (): number => {
    if (random.chance(0.1)) return 0;
    const drawn = Math.round(random.logarithmic(1, random.chance(0.1) ? 150_000 : 15_000));
    bytes += drawn;
    return bytes > 200_000 ? 10 : drawn;
  };
  for (let i = 0; i < count; i++) {
    const bidirectional = random.chance(0.7);
    const forward = size();
    plans.push({
      opener: random.pick(["client", "server", "server"] as const),
      bidirectional,
      at: random.chance(0.5) ? 0 : random.between(0, seconds * 1000),
      forward,
      back: bidirectional ? size() : 0,
      chunk: Math.round(random.logarithmic(10, 20_000)),
      finAfter: random.chance(0.3) ? random.pick([0, random.between(0, 500)]) : undefined,
      consumeAfter: random.chance(0.2) ? random.between(0, 2_000) : 0,
      resetAfter: random.chance(0.1) ? random.integer(0, forward) : undefined,
      stopAfter: random.chance(0.1) ? random.integer(0, forward) : undefined,
    });
  }
  return plans;
}

/** What follows from a seed. */
export function scenarioOf(seed: number): Scenario {
  const random = new Random(seed);
  const delay = random.logarithmic(0.5, 375);
  const seconds = random.chance(0.7) ? 0.5 : random.between(0.5, 10);
  const moves = Array.from({ length: random.chance(0.15) ? random.integer(1, 4) : 0 }, () => ({
    at: random.between(0, seconds * 1000),
    // Another port, another host, or back again.
    to: random.pick([CLIENT_ADDRESS, "192.0.2.1:2000", "192.0.2.1:3000", "198.51.100.7:1000", "203.0.113.9:4000"]),
  }));
  // Where the server may send nothing more to the new address, and the client has nothing to say, only this helps.
  const keepAlive = moves.length === 0 ? {} : { keepAlive: random.between(100, 5_000) };
  const side = (): Side => random.pick(["client", "server"] as const);
  return {
    seed,
    toServer: link(random, delay),
    toClient: link(random, delay),
    suite: random.pick(SUITES),
    helloFilling: random.chance(0.3) ? random.integer(0, 3_000) : 0,
    filling: random.chance(0.5) ? 2_500 : random.integer(0, 12_000),
    client: { ...options(random), ...keepAlive },
    server: options(random),
    clientParameters: parameters(random),
    serverParameters: parameters(random),
    streams: streams(random, seconds),
    datagrams: Array.from({ length: random.chance(0.3) ? random.integer(1, 20) : 0 }, () => ({
      from: side(),
      at: random.between(0, seconds * 1000),
      size: random.integer(8, 1_100),
    })),
    keyUpdates: Array.from({ length: random.chance(0.2) ? random.integer(1, 5) : 0 }, () => ({
      from: side(),
      at: random.between(0, seconds * 1000),
    })),
    closer: side(),
    moves,
    oldAddressesLive: random.chance(0.3),
  };
}

/** A calm run, of which a test changes what it is about. */
export function calm(changes: Partial<Scenario>): Scenario {
  return {
    seed: 1,
    toServer: PERFECT,
    toClient: PERFECT,
    suite: "TLS_AES_128_GCM_SHA256",
    helloFilling: 0,
    filling: 2_500,
    client: {},
    server: {},
    clientParameters: {},
    serverParameters: {},
    streams: [],
    datagrams: [],
    keyUpdates: [],
    moves: [],
    oldAddressesLive: false,
    closer: "client",
    ...changes,
  };
}

/** One stream from the server with so many bytes; the client takes them as they come. */
export function download(bytes: number): readonly StreamPlan[] {
  return [
    {
      opener: "server",
      bidirectional: false,
      at: 0,
      forward: bytes,
      back: 0,
      chunk: 16_384,
      finAfter: undefined,
      consumeAfter: 0,
      resetAfter: undefined,
      stopAfter: undefined,
    },
  ];
}
