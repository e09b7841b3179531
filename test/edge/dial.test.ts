/** Every way in which the edge can be out of reach, on loopback, against Node's own TLS server. */
import net from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, it, vi } from "vitest";
import { dialTls } from "../../src/edge/dial.ts";
import type { DialError } from "../../src/edge/errors.ts";
import { createEdgeTls } from "../../src/edge/tls.ts";
import { createAuthority, type LeafRequest } from "../../src/mock-edge/ca.ts";
import { closedPort } from "../ports.ts";

const DAY_MS = 86_400_000;
const NAME = "h2.cftunnel.com";
const authority = createAuthority();
const trusted = createEdgeTls({ cacert: authority.certPem, postQuantum: false });
const servers: net.Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function listen(server: net.Server): Promise<number> {
  servers.push(server);
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

function edge(
  options: Partial<LeafRequest> & tls.TlsOptions = {},
  onSocket?: (socket: tls.TLSSocket) => void,
): Promise<number> {
  const { dnsNames = [NAME], notBefore, notAfter, ...rest } = options;
  const leaf = authority.issue({
    dnsNames,
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(notAfter === undefined ? {} : { notAfter }),
  });
  const server = tls.createServer({ key: leaf.keyPem, cert: leaf.certPem, ...rest }, (socket) => {
    socket.on("error", () => socket.destroy());
    onSocket?.(socket);
  });
  server.on("tlsClientError", () => {});
  return listen(server);
}

function dial(port: number, options: Partial<Parameters<typeof dialTls>[0]> = {}): Promise<tls.TLSSocket> {
  return dialTls({ address: { ip: "127.0.0.1", port, family: 4 }, servername: NAME, tls: trusted, ...options });
}

async function failure(promise: Promise<tls.TLSSocket>): Promise<DialError> {
  return promise.then(
    () => {
      throw new Error("the dial succeeded");
    },
    (error: DialError) => error,
  );
}

describe("dialTls", () => {
  it("verifies, offers no ALPN and prefers TLS 1.3", async () => {
    let accepted: (socket: tls.TLSSocket) => void = () => {};
    const accepting = new Promise<tls.TLSSocket>((resolve) => {
      accepted = resolve;
    });
    const port = await edge({}, accepted);
    const [socket, peer] = await Promise.all([dial(port), accepting]);
    expect({
      authorized: socket.authorized,
      protocol: socket.getProtocol(),
      alpn: peer.alpnProtocol,
      name: (peer as { servername?: string }).servername,
    }).toEqual({ authorized: true, protocol: "TLSv1.3", alpn: false, name: NAME });
    socket.destroy();
  });

  it("takes TLS 1.2 with AEAD suites, and nothing weaker", async () => {
    const socket = await dial(await edge({ maxVersion: "TLSv1.2" }));
    expect(socket.getCipher().name).toMatch(/GCM|CHACHA20/);
    socket.destroy();
    const weak = await edge({ maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA" });
    expect(await failure(dial(weak))).toMatchObject({ code: "ERR_UNDERPASS_EDGE_HANDSHAKE", phase: "tls" });
  });

  it("reads into the given buffer from the first byte on", async () => {
    const port = await edge({}, (socket) => socket.end("hello from the edge"));
    const buffer = Buffer.alloc(64);
    let text = "";
    const socket = await dial(port, {
      onread: {
        buffer,
        callback: (length) => {
          text += buffer.toString("latin1", 0, length);
          return true;
        },
      },
    });
    await new Promise((resolve) => socket.once("close", resolve));
    expect(text).toBe("hello from the edge");
  });

  it.each([
    ["for another name", { dnsNames: ["other.example.com"] }, /altnames: DNS:other\.example\.com \(.*another name/],
    [
      "for many other names",
      { dnsNames: Array.from({ length: 9 }, (_, i) => `${i}.example.com`) },
      /altnames: DNS:0\.example\.com, DNS:1\.example\.com, DNS:2\.example\.com and 6 more \(/,
    ],
    [
      "that has expired",
      { notBefore: new Date(Date.now() - 9 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) },
      /expired/,
    ],
    [
      "that is not valid yet",
      { notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 9 * DAY_MS) },
      /not valid yet/,
    ],
  ])("refuses a certificate %s", async (_name, options, message) => {
    const error = await failure(dial(await edge(options)));
    expect(error).toMatchObject({ code: "ERR_UNDERPASS_EDGE_HANDSHAKE", phase: "tls" });
    expect(error.message).toMatch(message);
  });

  it("refuses a certificate of an unknown authority, whatever the environment says", async () => {
    const stranger = createEdgeTls({ cacert: createAuthority().certPem, postQuantum: false });
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
    try {
      const error = await failure(dial(await edge(), { tls: stranger }));
      expect(error.message).toMatch(/--cacert/);
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    }
  });

  it("says when nothing listens", async () => {
    const port = await closedPort();
    const error = await failure(dial(port));
    expect(error).toMatchObject({ code: "ERR_UNDERPASS_EDGE_TCP", phase: "tcp", address: { port } });
    expect(error.message).toMatch(/nothing listens there/);
  });

  it("waits for the handshake no longer than it may", async () => {
    const port = await listen(net.createServer((socket) => socket.on("error", () => socket.destroy())));
    const error = await failure(dial(port, { timeoutMs: 50 }));
    expect(error).toMatchObject({ phase: "tls" });
    expect(error.message).toMatch(/within 0.05 s/);
  });

  it("waits for TCP no longer than it may", async () => {
    const port = await edge();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      // The kernel connects at once, but the loop has had no turn to notice.
      const dialling = failure(dial(port));
      vi.advanceTimersByTime(15_000);
      expect(await dialling).toMatchObject({
        code: "ERR_UNDERPASS_EDGE_TCP",
        phase: "tcp",
        message: expect.stringMatching(/within 15 s \(no answer; does a firewall/),
      });
    } finally {
      vi.useRealTimers();
    }
  });

  it("gives the handshake a time of its own", async () => {
    let hello: (socket: net.Socket) => void = () => {};
    const connected = new Promise<net.Socket>((resolve) => {
      hello = resolve;
    });
    const port = await listen(net.createServer((socket) => socket.once("data", () => hello(socket))));
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const dialling = failure(dial(port));
      vi.advanceTimersByTime(14_000);
      const peer = await connected;
      vi.advanceTimersByTime(14_999);
      expect(peer.destroyed).toBe(false);
      vi.advanceTimersByTime(1);
      expect(await dialling).toMatchObject({ phase: "tls", message: expect.stringMatching(/within 15 s/) });
    } finally {
      vi.useRealTimers();
    }
  });

  it("says when the peer hangs up during the handshake", async () => {
    const port = await listen(net.createServer((socket) => socket.destroy()));
    const error = await failure(dial(port));
    expect(error).toMatchObject({ phase: "tls" });
    expect(error.message).toMatch(/hung up/);
  });

  it("says when the peer does not speak TLS", async () => {
    const port = await listen(net.createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    const error = await failure(dial(port));
    expect(error).toMatchObject({ phase: "tls" });
    expect(error.message).toMatch(/does not speak TLS/);
  });

  it("dials from the bind address, and says when that can't be", async () => {
    const port = await edge();
    const socket = await dial(port, { bindAddress: "127.0.0.1" });
    expect(socket.localAddress).toBe("127.0.0.1");
    socket.destroy();
    // TEST-NET-1 (RFC 5737) is nobody's.
    expect(await failure(dial(port, { bindAddress: "192.0.2.1" }))).toMatchObject({
      phase: "tcp",
      message: expect.stringMatching(/not one of this machine's/),
    });
    expect(await failure(dial(port, { bindAddress: "::1" }))).toMatchObject({
      phase: "tcp",
      message: expect.stringMatching(/other address family/),
    });
  });

  it("writes IPv6 addresses in brackets", async () => {
    const error = await failure(dial(1, { address: { ip: "::1", port: 1, family: 6 } }));
    expect(error.message).toMatch(/ at \[::1\]:1: /);
  });

  it("resumes no session", async () => {
    const reused: boolean[] = [];
    const port = await edge({}, (peer) => {
      reused.push(peer.isSessionReused());
      peer.end("x");
    });
    for (let i = 0; i < 2; i++) {
      const socket = await dial(port);
      // With the data the tickets of TLS 1.3 have come too.
      await new Promise((resolve) => socket.once("data", resolve));
      socket.destroy();
    }
    expect(reused).toEqual([false, false]);
  });

  it("leaves nothing behind when it fails", async () => {
    const port = await edge({ dnsNames: ["other.example.com"] });
    const controller = new AbortController();
    const listeners = vi.spyOn(controller.signal, "removeEventListener");
    await failure(dial(port, { signal: controller.signal }));
    expect(listeners).toHaveBeenCalledOnce();
    const server = servers.at(-1);
    await new Promise((resolve) => server?.close(resolve));
  });

  it("rejects with the signal's reason, before and while dialling", async () => {
    const reason = new Error("enough");
    const port = await listen(net.createServer((socket) => socket.on("error", () => socket.destroy())));
    await expect(dial(port, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const dialling = dial(port, { signal: controller.signal });
    controller.abort(reason);
    await expect(dialling).rejects.toBe(reason);
  });
});
