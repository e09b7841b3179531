import { afterEach, describe, expect, it, vi } from "vitest";
import { DialError } from "../../../../src/edge/errors.ts";
import { runChecks } from "../../../../src/health/diagnostics/checks/run-checks.ts";
import type { EdgeAddress } from "../../../../src/types.ts";
import { failing, find, never, NOW, peers, plan, statuses } from "./fake-peers.ts";

const EVERYTHING_WORKS = {
  clock: "ok",
  "dns.srv": "ok",
  "dns.over-tls": "ok",
  "dns.region1": "ok",
  "dns.region2": "ok",
  "udp.region1.ipv4": "ok",
  "udp.region1.ipv6": "ok",
  "udp.region2.ipv4": "ok",
  "udp.region2.ipv6": "ok",
  "tcp.region1.ipv4": "ok",
  "tcp.region1.ipv6": "ok",
  "tcp.region2.ipv4": "ok",
  "tcp.region2.ipv6": "ok",
  "proxy.environment": "skipped",
  api: "ok",
  origin: "skipped",
};

const refused = (phase: "tcp" | "tls" | "quic") => (address: EdgeAddress) =>
  Promise.reject(new DialError(phase, address, `can't reach ${address.ip}`));

const onlyIpv4 = (code: string) => (address: EdgeAddress) =>
  address.family === 4
    ? Promise.resolve("TLS verified")
    : Promise.reject(
        new DialError("tcp", address, "no route", { cause: Object.assign(new Error("connect"), { code }) }),
      );

afterEach(() => {
  vi.useRealTimers();
});

describe("where everything works", () => {
  it("every row is ok, and QUIC is the way", async () => {
    const report = await runChecks(plan(), peers());
    expect(statuses(report.checks)).toEqual(EVERYTHING_WORKS);
    expect(report).toMatchObject({
      ok: true,
      suggestedProtocol: "quic",
      summary: "A tunnel works from here over QUIC.",
    });
    expect(find(report.checks, "udp.region1.ipv4").details).toMatch(/^198\.41\.192\.7 in \d+ ms, TLS verified$/);
  });

  it("asks only for what is wanted", async () => {
    const dialled: string[] = [];
    const dial = (name: string) => (address: EdgeAddress) => {
      dialled.push(`${name} ${address.ip} ${address.port}`);
      return Promise.resolve("");
    };
    const names: string[] = [];
    const report = await runChecks(
      plan({ protocol: "http2", edgeIpVersion: "6", region: "us" }),
      peers({
        srv: (name) => {
          names.push(name);
          return peers().srv(name, AbortSignal.abort());
        },
        dialTcp: dial("tcp"),
        dialQuic: dial("udp"),
      }),
    );
    expect(names).toEqual(["_us-v2-origintunneld._tcp.argotunnel.com"]);
    expect(dialled.sort()).toEqual(["tcp 2606:4700:a0::1 7844", "tcp 2606:4700:a8::1 7844"]);
    expect(report.summary).toBe("A tunnel works from here over HTTP/2.");
  });

  it("takes static addresses as they are, and resolves only names", async () => {
    const asked: string[] = [];
    const report = await runChecks(
      plan({ edge: ["127.0.0.1:7", "127.0.0.1:7", "edge.test:8"], edgeIpVersion: "6" }),
      peers({
        srv: failing("not to be asked"),
        addresses: (host) => {
          asked.push(host);
          return Promise.resolve([{ ip: "192.0.2.1", family: 4 }]);
        },
      }),
    );
    expect(asked).toEqual(["edge.test"]);
    expect(Object.keys(statuses(report.checks)).filter((id) => id.includes("edge"))).toEqual([
      "dns.edge2",
      "udp.edge1.ipv4",
      "udp.edge2.ipv4",
      "tcp.edge1.ipv4",
      "tcp.edge2.ipv4",
    ]);
    expect(report.ok).toBe(true);
  });
});

describe("where UDP is dropped", () => {
  it("is told as warnings with what to do: HTTP/2 works", async () => {
    const report = await runChecks(plan(), peers({ dialQuic: refused("quic") }));
    expect(report).toMatchObject({ ok: true, suggestedProtocol: "http2" });
    expect(report.summary).toBe("A tunnel works from here over HTTP/2 (QUIC does not get through), with 4 warnings.");
    expect(find(report.checks, "udp.region1.ipv4")).toMatchObject({
      status: "warning",
      code: "ERR_UNDERPASS_EDGE_QUIC",
      // The second address was tried, too.
      details: expect.stringContaining("can't reach 198.41.192.47 (HTTP/2 is used"),
      action: expect.stringContaining("open outgoing UDP port 7844"),
    });
  });

  it("fails where QUIC alone is wanted", async () => {
    const report = await runChecks(plan({ protocol: "quic" }), peers({ dialQuic: refused("quic") }));
    expect(report).toMatchObject({ ok: false, suggestedProtocol: undefined });
    expect(statuses(report.checks)).not.toHaveProperty("tcp.region1.ipv4");
    expect(report.summary).toBe("No connection to Cloudflare's edge is possible from here.");
  });

  it("and TCP too, fails", async () => {
    const report = await runChecks(plan(), peers({ dialQuic: refused("quic"), dialTcp: refused("tcp") }));
    expect(report.ok).toBe(false);
    expect(find(report.checks, "tcp.region2.ipv4")).toMatchObject({
      status: "failed",
      action: expect.stringContaining("open outgoing TCP port 7844"),
    });
  });

  it("and TCP too, works where HTTPS_PROXY is a way, as a tunnel takes it; not where somebody intercepts TLS", async () => {
    const dialQuic = refused("quic");
    const dialByEnvironment = () => () => Promise.resolve("TLS verified");
    const report = await runChecks(plan(), peers({ dialQuic, dialTcp: refused("tcp"), dialByEnvironment }));
    expect(report).toMatchObject({ ok: true, suggestedProtocol: "http2" });
    expect(find(report.checks, "tcp.region1.ipv4")).toMatchObject({
      status: "ok",
      details: expect.stringContaining("through the proxy of HTTPS_PROXY"),
    });
    const intercepted = await runChecks(plan(), peers({ dialQuic, dialTcp: refused("tls"), dialByEnvironment }));
    expect(intercepted.ok).toBe(false);
    // That the proxy is of no use either does not hide the cause.
    const both = await runChecks(
      plan(),
      peers({ dialQuic, dialTcp: refused("tcp"), dialByEnvironment: () => failing("no proxy") }),
    );
    expect(find(both.checks, "tcp.region1.ipv4")).toMatchObject({ code: "ERR_UNDERPASS_EDGE_TCP" });
  });

  it("one broken address of several is no failure", async () => {
    const report = await runChecks(
      plan(),
      peers({
        dialTcp: (address) => (address.ip === "198.41.192.7" ? refused("tcp")(address) : Promise.resolve("TLS")),
      }),
    );
    expect(find(report.checks, "tcp.region1.ipv4")).toMatchObject({
      status: "ok",
      details: expect.stringMatching(/^198\.41\.192\.47 in .*another address does not answer$/),
    });
  });
});

describe("IPv6", () => {
  it.each(["ENETUNREACH", "EADDRNOTAVAIL", "EHOSTUNREACH"])(
    "is left out where the machine has none (%s)",
    async (code) => {
      const report = await runChecks(plan(), peers({ dialTcp: onlyIpv4(code), dialQuic: onlyIpv4(code) }));
      expect(find(report.checks, "tcp.region1.ipv6")).toMatchObject({
        status: "skipped",
        details: "this machine has no route for IPv6",
      });
      expect(report.summary).toBe("A tunnel works from here over QUIC.");
    },
  );

  it("that is broken is a warning", async () => {
    const report = await runChecks(plan(), peers({ dialTcp: onlyIpv4("ETIMEDOUT"), dialQuic: onlyIpv4("ETIMEDOUT") }));
    expect(statuses(report.checks)).toMatchObject({ "tcp.region1.ipv6": "warning", "udp.region2.ipv6": "warning" });
    expect(report.ok).toBe(true);
  });
});

describe("DNS", () => {
  it("that does not know the name of an edge entry is not asked to know others", async () => {
    const unknown = peers({ addresses: failing("ENOTFOUND"), addressesOverTls: failing("ENOTFOUND") });
    const report = await runChecks(plan({ edge: ["edge.test:1"] }), unknown);
    expect(find(report.checks, "dns.edge1")).toMatchObject({
      status: "failed",
      action: expect.stringContaining("correct the entry of edge"),
    });
  });

  it("over TLS is not needed where the system's works", async () => {
    const report = await runChecks(plan(), peers({ srvOverTls: failing("blocked") }));
    expect(find(report.checks, "dns.over-tls")).toMatchObject({ status: "skipped", action: undefined });
    expect(report.summary).toBe("A tunnel works from here over QUIC.");
  });

  it("of the system that is broken is a warning where DNS over TLS helps out", async () => {
    const report = await runChecks(
      plan(),
      peers({ srv: failing("querySrv ETIMEOUT"), addresses: failing("EAI_AGAIN") }),
    );
    expect(statuses(report.checks)).toMatchObject({
      "dns.srv": "warning",
      "dns.over-tls": "ok",
      "dns.region1": "warning",
      "udp.region1.ipv4": "ok",
    });
    expect(report.ok).toBe(true);
  });

  it("without any SRV record uses the known names", async () => {
    const report = await runChecks(plan({ region: "us" }), peers({ srv: failing("x"), srvOverTls: failing("y") }));
    expect(find(report.checks, "dns.region1").target).toBe("us-region1.v2.argotunnel.com");
    const us = await runChecks(plan(), peers({ srv: failing("x"), srvOverTls: failing("y") }));
    // The edge is reached all the same.
    expect(us).toMatchObject({ ok: true });
    expect(find(us.checks, "dns.srv")).toMatchObject({
      status: "warning",
      action: expect.stringContaining("resolver"),
    });
  });

  it("that names one region of two is a warning: one is enough to go on", async () => {
    const one = () => Promise.resolve([{ priority: 1, weight: 1, port: 7844, target: "region2.v2.argotunnel.com" }]);
    const report = await runChecks(plan(), peers({ srv: one, srvOverTls: one }));
    expect(find(report.checks, "dns.srv")).toMatchObject({
      status: "warning",
      details: "names 1 of the edge's 2 regions",
    });
    expect(find(report.checks, "dns.region1").target).toBe("region2.v2.argotunnel.com");
    expect(report.checks.some(({ id }) => id.startsWith("tcp.region2"))).toBe(false);
    expect(report.ok).toBe(true);
  });

  it("that does not work at all fails, and nothing is dialled", async () => {
    const broken = failing("getaddrinfo ENOTFOUND");
    const report = await runChecks(
      plan(),
      peers({
        srv: broken,
        srvOverTls: broken,
        addresses: broken,
        addressesOverTls: broken,
        dialTcp: failing("dialled"),
      }),
    );
    expect(report).toMatchObject({ ok: false, suggestedProtocol: undefined });
    expect(statuses(report.checks)).toMatchObject({
      "dns.srv": "failed",
      "dns.region1": "failed",
      "udp.region1": "skipped",
      "tcp.region2": "skipped",
    });
    expect(find(report.checks, "dns.region1").action).toContain("resolver of this machine");
  });

  it("of a region that does not exist says so", async () => {
    const report = await runChecks(
      plan({ region: "mars" }),
      peers({ srv: () => Promise.resolve([]), srvOverTls: () => Promise.resolve([]), addresses: failing("ENOTFOUND") }),
    );
    expect(find(report.checks, "dns.srv").action).toContain('is "mars" a region');
  });
});

describe("what servers say", () => {
  it("can't rewrite the terminal, nor fill it", async () => {
    const report = await runChecks(plan(), peers({ dialTcp: failing(`\u001b[2J\u0007${"x".repeat(9_999)}`) }));
    const { details } = find(report.checks, "tcp.region1.ipv4");
    expect(details).toMatch(/^ \[2J x+/);
    expect(details.length).toBeLessThan(500);
  });
});

describe("the clock", () => {
  const at = (offset: number) => () =>
    Promise.resolve({ status: 200, date: NOW, sentAt: NOW + offset, receivedAt: NOW + offset + 400 });

  it.each([
    [0, "ok", "agrees"],
    [9_000, "ok", "agrees"],
    [-60_000, "warning", "60 s behind"],
    [60_000, "warning", "60 s ahead"],
    [3_600_000, "failed", "3600 s ahead"],
  ])("that is %i ms off is %s", async (offset, status, details) => {
    const report = await runChecks(plan(), peers({ ask: at(offset) }));
    expect(find(report.checks, "clock")).toMatchObject({ status, details: expect.stringContaining(details) });
    expect(report.ok).toBe(status !== "failed");
  });

  it("is found wrong by certificates that are not valid yet", async () => {
    const cause = Object.assign(new Error("certificate is not yet valid"), { code: "CERT_NOT_YET_VALID" });
    const report = await runChecks(plan(), peers({ ask: () => Promise.reject(new Error("failed", { cause })) }));
    expect(find(report.checks, "clock")).toMatchObject({ status: "failed", action: expect.stringContaining("clock") });
    expect(find(report.checks, "api").action).toContain("clock");
  });

  it("can't be told without an answer", async () => {
    const report = await runChecks(plan(), peers({ ask: failing("ECONNREFUSED") }));
    expect(find(report.checks, "clock").status).toBe("skipped");
  });
});

describe("the API, quick tunnels and the proxy", () => {
  const quick = { quickService: new URL("https://api.trycloudflare.com"), needsQuickService: true };

  it("are needed by a quick tunnel alone", async () => {
    const unreachable = peers({ ask: failing("ECONNREFUSED") });
    const named = await runChecks(plan(), unreachable);
    expect(statuses(named.checks)).toMatchObject({ api: "warning" });
    const wanted = await runChecks(plan(quick), unreachable);
    expect(statuses(wanted.checks)).toMatchObject({ api: "warning", "quick-service": "failed" });
    const possible = await runChecks(plan({ ...quick, needsQuickService: false }), unreachable);
    expect(statuses(possible.checks)).toMatchObject({ "quick-service": "warning" });
  });

  it("a proxy is tried with CONNECT, and its password is not shown", async () => {
    const password = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex");
    const asked: string[] = [];
    const report = await runChecks(
      plan({ ...quick, environment: { HTTPS_PROXY: `http://user:${password}@proxy.test:3128` } }),
      peers({
        throughProxy: (proxy, host, port) => {
          asked.push(`${proxy.address.host}:${proxy.address.port} ${host}:${port}`);
          return Promise.reject(new Error("the proxy proxy.test:3128: status 407"));
        },
      }),
    );
    expect(asked).toEqual(["proxy.test:3128 api.trycloudflare.com:443"]);
    expect(find(report.checks, "proxy.environment")).toMatchObject({
      status: "failed",
      target: "proxy.test:3128",
      details: expect.stringContaining("407"),
      action: expect.stringContaining("HTTPS_PROXY"),
    });
    expect(JSON.stringify(report)).not.toContain(password);
  });

  it("a proxy that can't be used says why; one that is not used says so", async () => {
    const unusable = await runChecks(plan({ environment: { HTTPS_PROXY: "socks5://proxy:1080" } }), peers());
    expect(find(unusable.checks, "proxy.environment")).toMatchObject({
      status: "warning",
      details: expect.stringContaining("only http:// is known"),
    });
    const excepted = await runChecks(
      plan({ environment: { HTTPS_PROXY: "http://p:1", NO_PROXY: "*" } }),
      peers({ throughProxy: failing("not to be asked") }),
    );
    expect(find(excepted.checks, "proxy.environment")).toMatchObject({
      status: "skipped",
      details: "not used for api.cloudflare.com",
    });
  });
});

describe("what never answers", () => {
  it("holds nothing up beyond the rows' limits", async () => {
    vi.useFakeTimers({ now: NOW });
    const dead = peers({
      addresses: never,
      srv: never,
      srvOverTls: never,
      addressesOverTls: never,
      dialTcp: never,
      dialQuic: never,
      ask: never,
    });
    const running = runChecks(plan({ edge: ["192.0.2.1:7844"] }), dead);
    await vi.advanceTimersByTimeAsync(12_000);
    const dialled = await running;
    expect(find(dialled.checks, "tcp.edge1.ipv4")).toMatchObject({ status: "failed", code: "ERR_UNDERPASS_EDGE_TCP" });
    const looking = runChecks(plan(), dead);
    await vi.advanceTimersByTimeAsync(20_000);
    expect((await looking).ok).toBe(false);
    expect(find((await looking).checks, "dns.srv").details).toBe("no answer within 5 s");
    expect(vi.getTimerCount()).toBe(0);
  });
});
