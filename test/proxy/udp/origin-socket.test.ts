/** What a socket does when the system takes nothing: a socket of the test's own, and virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OriginSocket, type UdpSocket } from "../../../src/proxy/udp/origin-socket.ts";

class FakeSocket implements UdpSocket {
  readonly sent: string[] = [];
  readonly callbacks: ((error: Error | null) => void)[] = [];
  readonly listeners = new Map<string, (...given: never[]) => void>();
  connected: (error?: Error) => void = () => undefined;
  /** False = sends wait. */
  isFree = true;
  closed = 0;

  connect(_port: number, _address: string, callback: (error?: Error) => void): void {
    this.connected = callback;
  }

  send(bytes: Uint8Array, callback: (error: Error | null) => void): void {
    this.sent.push(Buffer.from(bytes).toString());
    this.callbacks.push(callback);
  }

  /** The system has taken what waited. */
  take(error: Error | null = null): void {
    for (const callback of this.callbacks.splice(0)) callback(error);
  }

  getSendQueueCount(): number {
    return this.isFree ? 0 : this.callbacks.length;
  }

  close(): void {
    this.closed++;
  }

  address(): { address: string; port: number } {
    return { address: "192.0.2.1", port: 40_000 };
  }

  remoteAddress(): { address: string; port: number } {
    return { address: "192.0.2.7", port: 53 };
  }

  on(event: string, listener: (...given: never[]) => void): void {
    this.listeners.set(event, listener);
  }

  emit(event: string, ...given: unknown[]): void {
    this.listeners.get(event)?.(...(given as never[]));
  }
}

function open() {
  const fake = new FakeSocket();
  const told: string[] = [];
  const socket = new OriginSocket(
    { host: "192.0.2.7", port: 53 },
    {
      onOpen: () => told.push("open"),
      onRefused: (error) => told.push(`refused: ${error.message}`),
      onPayload: (payload) => told.push(`payload: ${payload.toString()}`),
      onError: (error, dropped) => told.push(`${dropped}: ${error.message}`),
      onDropped: (reason) => told.push(reason),
    },
    () => fake,
  );
  return { fake, told, socket };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("payloads for the origin", () => {
  it("wait until the socket is open, in their order, and their bytes are copied", () => {
    const { fake, socket } = open();
    const view = Buffer.from("one");
    socket.write(view);
    view.fill(0);
    socket.write(Buffer.from("two"));
    expect(fake.sent).toEqual([]);
    fake.connected();
    socket.write(Buffer.from("three"));
    expect(fake.sent).toEqual(["one", "two", "three"]);
  });

  it("512 wait at most, the rest is dropped", () => {
    const { fake, told, socket } = open();
    fake.connected();
    fake.isFree = false;
    socket.write(Buffer.from("under way"));
    for (let i = 0; i < 515; i++) socket.write(Buffer.from(`${i}`));
    expect(fake.sent).toEqual(["under way"]);
    expect(told).toEqual(["open", "write_full", "write_full", "write_full"]);
    fake.isFree = true;
    fake.take();
    expect(fake.sent.slice(1)).toEqual(Array.from({ length: 512 }, (_, i) => `${i}`));
  });

  it("those that waited for more than 200 ms are dropped, the fresh ones go", () => {
    const { fake, told, socket } = open();
    fake.connected();
    fake.isFree = false;
    socket.write(Buffer.from("under way"));
    socket.write(Buffer.from("late"));
    vi.advanceTimersByTime(201);
    socket.write(Buffer.from("fresh"));
    fake.isFree = true;
    fake.take();
    expect(fake.sent).toEqual(["under way", "fresh"]);
    expect(told).toEqual(["open", "write_deadline_exceeded"]);
  });

  it("one that the system refuses is told, and the next goes", () => {
    const { fake, told, socket } = open();
    fake.connected();
    socket.write(Buffer.from("one"));
    fake.take(Object.assign(new Error("send EPERM"), { code: "EPERM", errno: -1 }));
    socket.write(Buffer.from("two"));
    expect(told).toEqual([
      "open",
      "write_failed: write udp 192.0.2.1:40000->192.0.2.7:53: write: operation not permitted",
    ]);
    expect(fake.sent).toEqual(["one", "two"]);
  });
});

describe("errors", () => {
  it("of opening: by the callback or the event, told once", () => {
    for (const fail of [
      (fake: FakeSocket, error: Error) => fake.connected(error),
      (fake: FakeSocket, error: Error) => fake.emit("error", error),
    ]) {
      const { fake, told } = open();
      fail(fake, Object.assign(new Error("connect ENETUNREACH"), { code: "ENETUNREACH", errno: -101 }));
      fail(fake, new Error("again"));
      fake.connected();
      expect(told).toEqual(["refused: dial udp 192.0.2.7:53: connect: network is unreachable"]);
      expect(fake.closed).toBe(1);
    }
  });

  it("what can't even be tried is told later, not from within the constructor", async () => {
    const told: string[] = [];
    const note = (text: string) => () => void told.push(text);
    const socket = new OriginSocket(
      { host: "192.0.2.7", port: 53 },
      {
        onOpen: note("open"),
        onRefused: ({ message }) => void told.push(message),
        onPayload: note("payload"),
        onError: note("error"),
        onDropped: note("dropped"),
      },
      () => {
        throw Object.assign(new Error("no more files"), { code: "EMFILE", errno: -24 });
      },
    );
    socket.write(Buffer.from("into nothing"));
    expect(told).toEqual([]);
    await new Promise((resolve) => process.nextTick(resolve));
    expect(told).toEqual(["dial udp 192.0.2.7:53: connect: too many open files"]);
  });

  it("after the end: none", () => {
    const { fake, told, socket } = open();
    fake.connected();
    socket.write(Buffer.from("one"));
    socket.close();
    socket.close();
    fake.take(new Error("late"));
    fake.emit("error", new Error("late"));
    fake.emit("message", Buffer.from("late"), { address: "192.0.2.7", port: 53 });
    socket.write(Buffer.from("late"));
    expect(told).toEqual(["open"]);
    expect(fake.closed).toBe(1);
    expect(fake.sent).toEqual(["one"]);
  });
});

it("payloads count only once the socket is connected, and only of its peer", () => {
  const { fake, told } = open();
  const peer = { address: "192.0.2.7", port: 53 };
  fake.emit("message", Buffer.from("early"), peer);
  fake.connected();
  fake.emit("message", Buffer.from("port"), { ...peer, port: 54 });
  fake.emit("message", Buffer.from("host"), { ...peer, address: "192.0.2.8" });
  fake.emit("message", Buffer.from("right"), peer);
  expect(told).toEqual(["open", "payload: right"]);
});
