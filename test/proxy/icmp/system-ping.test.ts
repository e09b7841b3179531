/** Processes in place of ICMP sockets: how they are called, what they are given, when they are killed, how many there may be. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { pingCommands } from "../../../src/proxy/icmp/ping-command.ts";
import { SystemPing } from "../../../src/proxy/icmp/system-ping.ts";
import { FakePing } from "./fake-ping.ts";

function lines(platform: NodeJS.Platform, family: 4 | 6): string[] {
  const address = family === 4 ? "192.0.2.1" : "2001:db8::1";
  return pingCommands(platform, family, address, 56, "D:\\Win").map(({ file, args }) => [file, ...args].join(" "));
}

describe("how it is called", () => {
  it("iputils and busybox: seconds", () => {
    expect(lines("linux", 4)).toEqual(["ping -n -q -c 1 -s 56 -W 4 192.0.2.1"]);
    expect(lines("linux", 6)).toEqual([
      "ping -n -q -c 1 -s 56 -W 4 2001:db8::1",
      "ping6 -n -q -c 1 -s 56 -W 4 2001:db8::1",
    ]);
  });

  it("the BSDs: milliseconds, and a command of its own for IPv6", () => {
    for (const platform of ["darwin", "freebsd"] as const) {
      expect(lines(platform, 4)).toEqual(["ping -n -q -c 1 -s 56 -W 4000 192.0.2.1"]);
      expect(lines(platform, 6)).toEqual(["ping6 -n -q -c 1 -s 56 2001:db8::1"]);
    }
    expect(lines("openbsd", 4)).toEqual(["ping -n -q -c 1 -s 56 192.0.2.1"]);
  });

  it("Windows: by its path, and what it prints counts", () => {
    const [command] = pingCommands("win32", 4, "192.0.2.1", 56, "D:\\Win");
    expect(command?.file).toMatch(/^D:\\Win.System32.PING\.EXE$/);
    expect(command?.args).toEqual(["-n", "1", "-w", "4000", "-l", "56", "192.0.2.1"]);
    const answered = (text: string): boolean | undefined => command?.answered?.test(text);
    expect(answered("Reply from 192.0.2.1: bytes=56 time=3ms TTL=64")).toBe(true);
    expect(answered("Antwort von ::1: Zeit<1ms")).toBe(true);
    expect(answered("Reply from 192.0.2.9: Destination host unreachable.\r\n    Packets: Sent = 1, Received = 1")).toBe(
      false,
    );
    expect(answered("Request timed out.")).toBe(false);
  });
});

describe("processes", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("are given nothing of our environment but what they need", async () => {
    const fake = new FakePing('echo "[$SECRET] [$LC_ALL] [$PATH]" > "$0.env"; exit 0');
    const ping = new SystemPing({ platform: "linux", env: { ...fake.env, SECRET: "hidden" } });
    expect(await ping.ping(4, "192.0.2.1", 8)).toBe("answered");
    expect(fake.read("ping.env").trim()).toBe(`[] [C] [${fake.folder}]`);
  });

  it("that are missing, fail, or are killed by a signal answer nothing", async () => {
    for (const [script, names] of [
      ["exit 0", []],
      ["exit 1", ["ping"]],
      ["exit 2", ["ping"]],
      ["kill -9 $$", ["ping"]],
    ] as const) {
      const ping = new SystemPing({ platform: "linux", env: new FakePing(script, names).env });
      expect(await ping.probe(4)).toBe(false);
      expect(await ping.ping(4, "192.0.2.1", 8)).toBe("silent");
    }
  });

  it("that don't end are killed after six seconds", async () => {
    const fake = new FakePing("exec /bin/sleep 600");
    const ping = new SystemPing({ platform: "linux", env: fake.env });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    let result: string | undefined;
    const running = ping.ping(4, "192.0.2.1", 8).then((answer) => (result = answer));
    vi.advanceTimersByTime(5999);
    await new Promise((resolve) => setImmediate(resolve));
    expect(result).toBeUndefined();
    vi.advanceTimersByTime(1);
    expect(await running).toBe("silent");
  });

  it("100 in a second: the rest is dropped until time has passed", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const ping = new SystemPing({ platform: "linux", env: new FakePing("exit 0", []).env });
    const results: string[] = [];
    for (let round = 0; round < 3; round++)
      results.push(...(await Promise.all(Array.from({ length: 50 }, () => ping.ping(4, "192.0.2.1", 8)))));
    expect(results.filter((result) => result === "busy")).toHaveLength(50);
    vi.advanceTimersByTime(30);
    const later = await Promise.all(Array.from({ length: 5 }, () => ping.ping(4, "192.0.2.1", 8)));
    expect(later.filter((result) => result === "busy")).toHaveLength(2);
  });

  it("none after the end, and those that run are killed", async () => {
    const ping = new SystemPing({ platform: "linux", env: new FakePing("exec /bin/sleep 600").env });
    const running = ping.ping(4, "192.0.2.1", 8);
    ping.close();
    expect(await running).toBe("silent");
    expect(await ping.ping(4, "192.0.2.1", 8)).toBe("silent");
    expect(await ping.probe(4)).toBe(false);
  });
});
