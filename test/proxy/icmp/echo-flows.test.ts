/** Which connection an answer goes to, and for how long that is remembered: virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { IcmpPacket } from "../../../src/protocol/datagram/icmp-packet.ts";
import { EchoFlows, type IcmpReturn } from "../../../src/proxy/icmp/echo-flows.ts";
import { ipv6Beside } from "../../../src/proxy/icmp/source-addresses.ts";

function request(id: number, destination = "c0000201"): IcmpPacket {
  const rest = Buffer.alloc(8);
  rest.writeUInt16BE(id & 0xffff, 0);
  return {
    family: 4,
    source: Buffer.from("0a010203", "hex"),
    destination: Buffer.from(destination, "hex"),
    ttl: 64,
    type: 8,
    code: 0,
    rest,
  };
}

const back = (connIndex: number): IcmpReturn => ({ connIndex, send: () => undefined });

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("flows", () => {
  it("are told apart by source, destination and identifier; the last connection counts", () => {
    const flows = new EchoFlows();
    const first = flows.use(request(1), back(0));
    expect(flows.use(request(1), back(1))).toBe(first);
    expect(first.back.connIndex).toBe(1);
    flows.use(request(2), back(0));
    flows.use(request(1, "c0000202"), back(0));
    expect(flows.size).toBe(3);
    expect(first.back.connIndex).toBe(1);
  });

  it("are forgotten ten seconds after the last request, and then no timer is left", () => {
    const flows = new EchoFlows();
    flows.use(request(1), back(0));
    vi.advanceTimersByTime(9_000);
    flows.use(request(2), back(0));
    vi.advanceTimersByTime(1_000);
    expect(flows.size).toBe(1);
    vi.advanceTimersByTime(20_000);
    expect(flows.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
    flows.use(request(3), back(0));
    flows.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("4096 at most: the longest idle one goes", () => {
    const flows = new EchoFlows();
    const first = flows.use(request(0), back(0));
    const second = flows.use(request(1), back(0));
    for (let id = 2; id < 4096; id++) flows.use(request(id), back(0));
    expect(flows.use(request(0), back(0))).toBe(first);
    flows.use(request(5000), back(0));
    expect(flows.size).toBe(4096);
    expect(flows.use(request(0), back(0))).toBe(first);
    expect(flows.use(request(1), back(0))).not.toBe(second);
    flows.close();
  });
});

describe("the IPv6 address of a router", () => {
  const v4 = (address: string) => ({
    address,
    family: "IPv4" as const,
    netmask: "",
    mac: "",
    internal: false,
    cidr: null,
  });
  const v6 = (address: string) => ({
    address,
    family: "IPv6" as const,
    netmask: "",
    mac: "",
    internal: false,
    cidr: null,
    scopeid: 0,
  });

  it("is of the interface with the IPv4 one, else of another; a link-local one is the last choice", () => {
    const lo = [v4("127.0.0.1"), v6("::1")];
    expect(
      ipv6Beside("192.0.2.1", { lo, a: [v6("fd00::1")], b: [v4("192.0.2.1"), v6("fe80::1"), v6("2001:db8::1")] }),
    ).toBe("2001:db8::1");
    expect(ipv6Beside("192.0.2.1", { lo, a: [v6("fd00::1")], b: [v4("192.0.2.1")] })).toBe("fd00::1");
    expect(ipv6Beside("192.0.2.1", { lo, b: [v4("192.0.2.1"), v6("fe80::1")] })).toBe("fe80::1");
    expect(ipv6Beside(undefined, { lo })).toBe("::1");
    expect(ipv6Beside(undefined, { a: [v4("192.0.2.1")] })).toBe("::");
  });
});
