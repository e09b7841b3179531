/** The way back to QUIC, in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ConnectionInfo } from "../../src/connector/api.ts";
import { FIRST_PROBE_MS, LONGEST_PROBE_MS, MOVE_SPACING_MS, QuicReturn } from "../../src/connector/quic-return.ts";
import type { EdgeAddress, EdgeProtocol } from "../../src/types.ts";
import { noReport } from "./fake-edge.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** A tunnel of some connections, in a network that lets UDP through or not. */
class Network {
  udp = false;
  fellBack = false;
  readonly probes: [at: number, EdgeAddress][] = [];
  readonly replaced: [at: number, connIndex: number][] = [];
  readonly protocols: EdgeProtocol[];
  readonly back: QuicReturn;
  readonly #began = performance.now();

  constructor(size: number) {
    this.protocols = Array.from({ length: size }, () => "http2");
    this.back = new QuicReturn({
      dialer: this,
      connections: () => this.protocols.map((protocol, connIndex) => info(connIndex, protocol)),
      replace: (connIndex) => {
        this.replaced.push([this.now, connIndex]);
        this.register(connIndex);
      },
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
  }

  get now(): number {
    return performance.now() - this.#began;
  }

  probe({ address }: { readonly address: EdgeAddress }): Promise<boolean> {
    this.probes.push([this.now, address]);
    if (this.udp) this.fellBack = false;
    return Promise.resolve(this.udp);
  }

  register(connIndex: number): void {
    const protocol = this.udp ? "quic" : "http2";
    this.protocols[connIndex] = protocol;
    this.fellBack = !this.udp;
    this.back.registered({ protocol });
  }
}

function info(connIndex: number, protocol: EdgeProtocol): ConnectionInfo {
  const edgeAddress = connIndex === 0 ? "[2001:db8::1]:7844" : "192.0.2.1:7844";
  return {
    connIndex,
    state: "registered",
    protocol,
    edgeAddress,
    connectionId: undefined,
    location: undefined,
    ...noReport,
  };
}

describe("connections that took HTTP/2", () => {
  it("are let be while QUIC does not get through, which is asked ever more seldom", async () => {
    const network = new Network(4);
    for (let index = 0; index < 4; index++) network.register(index);
    await vi.advanceTimersByTimeAsync(5 * LONGEST_PROBE_MS);
    expect(network.replaced).toEqual([]);
    expect(network.probes[0]).toEqual([FIRST_PROBE_MS, { ip: "2001:db8::1", port: 7844, family: 6 }]);
    const times = network.probes.map(([at]) => at);
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
    expect(gaps.slice(0, 5)).toEqual([2, 4, 8, 16, 32].map((factor) => factor * FIRST_PROBE_MS));
    expect(gaps.slice(6)).toEqual(gaps.slice(6).map(() => LONGEST_PROBE_MS));
    network.back.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("move one after another once it does, and then nothing is asked any more", async () => {
    const network = new Network(3);
    for (let index = 0; index < 3; index++) network.register(index);
    network.udp = true;
    await vi.advanceTimersByTimeAsync(10 * LONGEST_PROBE_MS);
    expect(network.probes).toHaveLength(1);
    expect(network.replaced).toEqual([
      [FIRST_PROBE_MS, 0],
      [FIRST_PROBE_MS + MOVE_SPACING_MS, 1],
      [FIRST_PROBE_MS + 2 * MOVE_SPACING_MS, 2],
    ]);
    expect(network.protocols).toEqual(["quic", "quic", "quic"]);
  });

  it("move without being asked for when another connection has got through by QUIC", async () => {
    const network = new Network(2);
    network.register(0);
    network.udp = true;
    network.register(1);
    await vi.advanceTimersByTimeAsync(FIRST_PROBE_MS + MOVE_SPACING_MS);
    expect(network.probes).toEqual([]);
    expect(network.replaced.map(([, index]) => index)).toEqual([0]);
  });

  it("wait longer each time where QUIC does not hold, and as at first where it held long", async () => {
    const network = new Network(1);
    network.register(0);
    network.udp = true;
    await vi.advanceTimersByTimeAsync(FIRST_PROBE_MS);
    expect(network.protocols).toEqual(["quic"]);
    network.udp = false;
    network.register(0);
    await vi.advanceTimersByTimeAsync(2 * FIRST_PROBE_MS + MOVE_SPACING_MS - 1);
    expect(network.probes).toHaveLength(1);
    network.udp = true;
    await vi.advanceTimersByTimeAsync(1);
    expect(network.probes).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(LONGEST_PROBE_MS);
    network.udp = false;
    network.register(0);
    await vi.advanceTimersByTimeAsync(FIRST_PROBE_MS);
    expect(network.probes).toHaveLength(3);
  });
});
