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
