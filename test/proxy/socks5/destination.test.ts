/** Names that the system's resolver does not answer. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { permittedTargets } from "../../../src/proxy/socks5/destination.ts";
import { IpPolicy } from "../../../src/proxy/socks5/ip-policy.ts";
import { FakeStream, webSocketRequest } from "../fake-stream.ts";
import { Cleanup, Harness } from "../harness.ts";

/** Name to addresses; all others are never answered. */
const known = new Map<string, readonly { address: string; family: number }[]>();

vi.mock("node:dns/promises", () => ({
  lookup: (host: string) => {
    const addresses = known.get(host);
    return addresses === undefined ? new Promise(() => {}) : Promise.resolve(addresses);
  },
}));

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
afterEach(() => {
  vi.useRealTimers();
  known.clear();
});

const ANYWHERE = [{ prefix: "0.0.0.0/0", ports: [], allow: true }];

describe("a name that is never answered", () => {
  it("is given up after connectTimeout, and the client told", async () => {
    const harness = cleanup.add(
      new Harness({ kind: "socks-proxy" }, { ipRules: ANYWHERE, connectTimeoutMs: 2_000 }),
      ({ proxy }) => proxy.close(),
    );
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    const name = Buffer.from("silent.example");
    const request = Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, name.length]), name, Buffer.from([0, 80])]);
    stream.give(Buffer.concat([Buffer.from([0x82, 0x80 | request.length, 0, 0, 0, 0]), request]));
    await vi.advanceTimersByTimeAsync(1_999);
    expect(stream.body.toString("hex")).toBe("82020500");
    await vi.advanceTimersByTimeAsync(1);
    expect(stream.body.subarray(4).toString("hex")).toMatch(/^820a05040001000000000000/);
    const outcome = await harness.outcome();
    expect(outcome).toMatchObject({ class: "origin-timeout", phase: "dns" });
    expect(outcome.error?.message).toBe("no connection to silent.example:80 within 2000 ms (connectTimeout)");
  });

  it("leaves no timer behind when it is answered, and has none where there is no limit", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    known.set("app.example", [{ address: "192.0.2.1", family: 4 }]);
    const policy = new IpPolicy(ANYWHERE);
    for (const limit of [2_000, 0]) {
      const [target] = await permittedTargets({ host: "app.example", port: 80 }, policy, limit);
      expect(target?.where).toBe("192.0.2.1:80");
      expect(vi.getTimerCount()).toBe(0);
    }
    void permittedTargets({ host: "silent.example", port: 80 }, policy, 0);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("this machine under another name", () => {
  const NOT_HERE = [
    { prefix: "127.0.0.0/8", ports: [], allow: false },
    { prefix: "::1/128", ports: [], allow: false },
    { prefix: "0.0.0.0/0", ports: [], allow: true },
    { prefix: "::/0", ports: [], allow: true },
  ];
  // What resolvers take for numbers.
  const NUMBERS = ["0x7f.1", "127.1", "2130706433", "0177.0.0.1", "127.0.0.1.", "0", "0.0"];
  const ADDRESSES = [
    "127.0.0.1",
    "0.0.0.0",
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:7f00:0001",
    "::FFFF:127.9.9.9",
    "::ffff:0.0.0.0",
    "::ffff:0:0",
    "::0.0.0.0",
    "::127.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::0.0.0.0",
    "::1%lo",
    "::ffff:127.0.0.1%1",
    "fe80::1%lo",
  ];

  it.each(ADDRESSES)("is not reached by %s, as an address or as a name's", async (address) => {
    known.set("app.example", [{ address, family: 4 }]);
    // What has a zone is no address here, and asked for.
    known.set(address, [{ address, family: 6 }]);
    const policy = new IpPolicy(NOT_HERE);
    for (const host of [address, "app.example"]) {
      await expect(permittedTargets({ host, port: 80 }, policy, 0)).rejects.toThrow(/ipRules do not allow/);
    }
  });

  it.each(NUMBERS)("is not reached by %s: what the resolver makes of it is looked at", async (host) => {
    known.set(host, [
      { address: "127.0.0.1", family: 4 },
      { address: "0.0.0.0", family: 4 },
      { address: "::ffff:0.0.0.0", family: 6 },
    ]);
    const policy = new IpPolicy(NOT_HERE);
    await expect(permittedTargets({ host, port: 80 }, policy, 0)).rejects.toThrow(/ipRules do not allow/);
  });

  it("does not hide what is allowed", async () => {
    const policy = new IpPolicy(NOT_HERE);
    for (const host of ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "64:ff9b::192.0.2.1", "::192.0.2.1"]) {
      expect(await permittedTargets({ host, port: 80 }, policy, 0)).toHaveLength(1);
    }
    const nat64 = new IpPolicy([{ prefix: "64:ff9b::/96", ports: [], allow: true }]);
    expect(nat64.allows("64:ff9b::a00:1", 80)).toBe(true);
    expect(nat64.allows("10.0.0.1", 80)).toBe(false);
  });
});
