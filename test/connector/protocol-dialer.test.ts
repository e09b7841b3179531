/** Choosing between QUIC and HTTP/2, in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EdgeUnreachableError } from "../../src/connector/errors.ts";
import { type Dial, HEAD_START_MS, ProtocolDialer, SHORT_LIFE_MS } from "../../src/connector/protocol-dialer.ts";
import type { CloseReason, EdgeConnection, EdgeProtocol } from "../../src/types.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const address = { ip: "192.0.2.1", port: 7844, family: 4 } as const;

/** How a transport behaves: an answer or a failure after a time, or silence. */
type Behaviour = { readonly answers: number; readonly deaf?: boolean } | { readonly fails: number } | "silence";

class Edge {
  readonly behaviour: Record<EdgeProtocol, Behaviour> = { quic: { answers: 10 }, http2: { answers: 20 } };
  /** `quic@0`: dialled when. */
  readonly dialled: string[] = [];
  readonly closed: string[] = [];
  readonly aborted: string[] = [];
  readonly logs: string[] = [];
  withdrawn = false;
  /** Ends the connection that was made last. */
  end: (reason: CloseReason) => void = () => {};
  readonly dialer: ProtocolDialer;
  readonly #began = performance.now();

  constructor() {
    const logger = { debug() {}, warn() {}, error() {}, info: (message: string) => void this.logs.push(message) };
    this.dialer = new ProtocolDialer({
      dials: { quic: this.#dial("quic"), http2: this.#dial("http2") },
      logger,
      isQuicWithdrawn: () => this.withdrawn,
    });
  }

  get now(): number {
    return performance.now() - this.#began;
  }

  async connect(signal = new AbortController().signal): Promise<string> {
    const attempt = this.dialer.dial({ connIndex: 0, address, signal }).then(
      ({ protocol }) => protocol,
      (error: unknown) => `${error instanceof Error ? error.name : ""} ${String(error)}`,
    );
    await vi.advanceTimersByTimeAsync(10_000);
    return await attempt;
  }

  #dial(protocol: EdgeProtocol): Dial {
    return ({ connIndex, signal }) =>
      new Promise((resolve, reject) => {
        this.dialled.push(`${protocol}@${this.now}`);
        const behaviour = this.behaviour[protocol];
        signal.addEventListener("abort", () => {
          this.aborted.push(protocol);
          if (behaviour === "silence" || !("deaf" in behaviour)) reject(signal.reason);
        });
        if (behaviour === "silence") return;
        if ("fails" in behaviour) setTimeout(() => reject(new Error(`${protocol} failed`)), behaviour.fails);
        else setTimeout(() => resolve(this.#connection(protocol, connIndex)), behaviour.answers);
      });
  }

  #connection(protocol: EdgeProtocol, connIndex: number): EdgeConnection {
    return {
      protocol,
      connIndex,
      remoteAddress: "192.0.2.1:7844",
      localAddress: "192.0.2.2",
      openStreams: 0,
      resets: 0,
      roundTripMs: undefined,
      probe: () => {},
      onSilence: () => {},
      control: () => Promise.reject(new Error("not in this test")),
      onRequest: () => {},
      closed: new Promise<CloseReason>((resolve) => {
        this.end = resolve;
      }),
      close: () => {
        this.closed.push(protocol);
        return Promise.resolve();
      },
    };
  }
}

describe("protocol auto", () => {
  it("takes QUIC where it answers, without dialling HTTP/2", async () => {
    const edge = new Edge();
    expect(await edge.connect()).toBe("quic");
    expect(edge.dialled).toEqual(["quic@0"]);
    expect(edge.logs).toEqual([]);
  });

  it("takes HTTP/2 after the head start where UDP is dropped, and gives QUIC up", async () => {
    const edge = new Edge();
    edge.behaviour.quic = "silence";
    expect(await edge.connect()).toBe("http2");
    expect(edge.dialled).toEqual(["quic@0", `http2@${HEAD_START_MS}`]);
    expect(edge.aborted).toEqual(["quic"]);
    expect(edge.logs).toEqual(["QUIC does not get through: using HTTP/2"]);
    expect(edge.dialer.fellBack).toBe(true);
  });

  it("does not wait where QUIC fails at once", async () => {
    const edge = new Edge();
    edge.behaviour.quic = { fails: 5 };
    expect(await edge.connect()).toBe("http2");
    expect(edge.dialled).toEqual(["quic@0", "http2@5"]);
  });

  it("lets a slow QUIC win over a slower HTTP/2, and breaks that off", async () => {
    const edge = new Edge();
    edge.behaviour.quic = { answers: 500 };
    edge.behaviour.http2 = { answers: 400 };
    expect(await edge.connect()).toBe("quic");
    expect(edge.aborted).toEqual(["http2"]);
  });

  it("closes a connection that comes although it was given up", async () => {
    const edge = new Edge();
    edge.behaviour.quic = { answers: 500 };
    edge.behaviour.http2 = { answers: 400, deaf: true };
    expect(await edge.connect()).toBe("quic");
    expect(edge.closed).toEqual(["http2"]);
  });

  it("remembers what answered: the next connections do not try QUIC first", async () => {
    const edge = new Edge();
    edge.behaviour.quic = "silence";
    await edge.connect();
    edge.dialled.length = 0;
    expect(await edge.connect()).toBe("http2");
    expect(edge.dialled).toHaveLength(1);
    expect(edge.logs).toHaveLength(1);
  });

  it("comes back to QUIC where HTTP/2 fails, and says so", async () => {
    const edge = new Edge();
    edge.behaviour.quic = "silence";
    await edge.connect();
    edge.behaviour.quic = { answers: 10 };
    edge.behaviour.http2 = { fails: 1 };
    expect(await edge.connect()).toBe("quic");
    expect(edge.logs.at(-1)).toBe("QUIC gets through again");
    expect(edge.dialer.fellBack).toBe(false);
  });

  it("fails when both do, with both reasons", async () => {
    const edge = new Edge();
    edge.behaviour.quic = { fails: 5 };
    edge.behaviour.http2 = { fails: 5 };
    expect(await edge.connect()).toContain("http2 failed; QUIC: quic failed");
    const failure: unknown = await Promise.all([
      edge.dialer
        .dial({ connIndex: 0, address, signal: new AbortController().signal })
        .catch((error: unknown) => error),
      vi.advanceTimersByTimeAsync(1000),
    ]).then(([error]) => error);
    expect(failure).toBeInstanceOf(EdgeUnreachableError);
    expect(failure).toMatchObject({ quic: { message: "quic failed" }, http2: { message: "http2 failed" } });
  });

  it("ends with the signal, and both dials with it", async () => {
    const edge = new Edge();
    edge.behaviour.quic = edge.behaviour.http2 = "silence";
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error("enough")), 1000);
    expect(await edge.connect(controller.signal)).toContain("enough");
    expect(edge.aborted.sort()).toEqual(["http2", "quic"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("asks after QUIC, and the next connection takes it when it answers", async () => {
    const edge = new Edge();
    edge.behaviour.quic = "silence";
    await edge.connect();
    const { signal } = new AbortController();
    edge.behaviour.quic = { fails: 5 };
    const ask = async (): Promise<boolean> => {
      const [found] = await Promise.all([
        edge.dialer.probe({ connIndex: 1, address, signal }),
        vi.advanceTimersByTimeAsync(100),
      ]);
      return found;
    };
    expect(await ask()).toBe(false);
    expect(edge.dialer.fellBack).toBe(true);
    edge.behaviour.quic = { answers: 5 };
    expect(await ask()).toBe(true);
    expect(edge.closed).toEqual(["quic"]);
    expect(await edge.connect()).toBe("quic");
  });

  it("tries HTTP/2 first where QUIC connections break soon after they began, twice in a row", async () => {
    const edge = new Edge();
    const broken: CloseReason = { kind: "error", error: new Error("idle for 5 s") };
    const live = async (ms: number, reason: CloseReason): Promise<void> => {
      expect(await edge.connect()).toBe("quic");
      await vi.advanceTimersByTimeAsync(ms - 10_000);
      edge.end(reason);
      await vi.advanceTimersByTimeAsync(0);
    };
    await live(20_000, broken);
    await live(SHORT_LIFE_MS + 10_000, broken);
    await live(20_000, broken);
    await live(20_000, { kind: "edge-closed" });
    await live(20_000, broken);
    expect(edge.dialer.fellBack).toBe(false);
    await live(20_000, broken);
    expect(edge.dialer.fellBack).toBe(true);
    expect(edge.logs).toEqual(["QUIC connections break soon after they begin: trying HTTP/2 first"]);
    expect(await edge.connect()).toBe("http2");
  });

  it("counts what one outage ends together once: the whole network may have been down", async () => {
    const edge = new Edge();
    const ends: ((reason: CloseReason) => void)[] = [];
    for (let i = 0; i < 4; i++) {
      expect(await edge.connect()).toBe("quic");
      ends.push(edge.end);
    }
    for (const end of ends) {
      end({ kind: "error", error: new Error("idle for 5 s") });
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(edge.dialer.fellBack).toBe(false);
    expect(edge.logs).toEqual([]);
    expect(await edge.connect()).toBe("quic");
  });
});

describe("QUIC that Cloudflare has withdrawn", () => {
  it("is not tried while HTTP/2 is slow, nor probed, and has its place again afterwards", async () => {
    const edge = new Edge();
    edge.withdrawn = true;
    edge.behaviour.http2 = { answers: HEAD_START_MS * 3 };
    expect(await edge.connect()).toBe("http2");
    expect(await edge.dialer.probe({ connIndex: 0, address, signal: new AbortController().signal })).toBe(false);
    expect(edge.dialled).toEqual(["http2@0"]);
    expect(edge.logs).toEqual([]);
    edge.withdrawn = false;
    expect(edge.dialer.fellBack).toBe(true);
    const [reached] = await Promise.all([
      edge.dialer.probe({ connIndex: 0, address, signal: new AbortController().signal }),
      vi.advanceTimersByTimeAsync(100),
    ]);
    expect(reached).toBe(true);
    expect(await edge.connect()).toBe("quic");
  });

  it("is tried where HTTP/2 fails: a record of the DNS is no proof, and must not end a tunnel", async () => {
    const edge = new Edge();
    edge.withdrawn = true;
    edge.behaviour.http2 = { fails: 50 };
    expect(await edge.connect()).toBe("quic");
    expect(edge.dialled).toEqual(["http2@0", "quic@50"]);
    expect(edge.aborted).not.toContain("quic");
  });
});
