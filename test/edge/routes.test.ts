import { Socket } from "node:dgram";
import { afterEach, describe, expect, it, vi } from "vitest";
import { hasRoute } from "../../src/edge/routes.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a way to an address", () => {
  it("is there for this machine itself, though nobody listens", async () => {
    expect(await hasRoute({ ip: "127.0.0.1", port: 9, family: 4 })).toBe(true);
  });

  // What Linux says in a network namespace without interfaces: ENETUNREACH for IPv4, EADDRNOTAVAIL for IPv6.
  it.each([
    ["ENETUNREACH", false],
    ["EADDRNOTAVAIL", false],
    ["EACCES", true],
  ])("after %s: %s", async (code, expected) => {
    const sockets: Socket[] = [];
    vi.spyOn(Socket.prototype, "connect").mockImplementation(function connect(this: Socket, ...args: unknown[]) {
      sockets.push(this);
      const callback = args[2] as (error: Error) => void;
      setImmediate(() => callback(Object.assign(new Error(code), { code })));
    });
    const close = vi.spyOn(Socket.prototype, "close");
    expect(await hasRoute({ ip: "2001:db8::1", port: 7844, family: 6 })).toBe(expected);
    expect(sockets).toHaveLength(1);
    expect(close).toHaveBeenCalledTimes(1);
  });

  it("is not there where the system does not know the family", async () => {
    vi.spyOn(Socket.prototype, "connect").mockImplementation(function connect(this: Socket) {
      setImmediate(() => this.emit("error", Object.assign(new Error("socket"), { code: "EAFNOSUPPORT" })));
    });
    expect(await hasRoute({ ip: "2001:db8::1", port: 7844, family: 6 })).toBe(false);
  });
});
