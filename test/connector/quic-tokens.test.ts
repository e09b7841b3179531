/** What a connection has of the one before it: its local port, and a token by which the server knows us again (RFC 9000 § 8.1.3). */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { afterEach, expect, it, vi } from "vitest";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import { createEdgeDial } from "../../src/connector/edge-dial.ts";
import { AddressTokens } from "../../src/edge/address-tokens.ts";
import { openServerSocket, QuicServerSocket } from "../../src/edge/quic-socket.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import { ServerEndpoint } from "../../src/protocol/quic/endpoint.ts";
import type { EdgeConnection } from "../../src/types.ts";
import { recordingLogger } from "./fake-edge.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server that has each stranger show its address first, and a dial to it. */
async function start() {
  const authority = createAuthority();
  const leaf = authority.issue({ dnsNames: ["quic.cftunnel.com"] });
  const clients: string[] = [];
  const endpoint = new ServerEndpoint({
    tls: {
      alpn: ["argotunnel"],
      certificateChain: [new X509Certificate(leaf.certPem).raw],
      privateKey: createPrivateKey(leaf.keyPem),
    },
    random: randomBytes,
    secret: randomBytes(32),
    alwaysRetry: true,
    accept: (from) => {
      clients.push(from);
      return { onHandshakeComplete() {}, onStream() {}, onDatagram() {}, onClosed() {} };
    },
  });
  const received = vi.spyOn(endpoint, "receive");
  const retries = (): number =>
    received.mock.results.filter(({ value }) => ((value as { reply?: Buffer }).reply?.[0] ?? 0) >> 4 === 0b1111).length;
  const socket = await openServerSocket("127.0.0.1", 0);
  const server = new QuicServerSocket(socket, endpoint);
  closers.push(() => server.close(0));
  const { dial } = createEdgeDial(
    { ...defaultTunnelConfig, cacert: authority.certPem, protocol: "quic" },
    createMemoryBudget(),
    recordingLogger().logger,
  );
  const connect = async (): Promise<EdgeConnection> => {
    const edge = await dial({
      connIndex: 0,
      address: { ip: "127.0.0.1", port: socket.address().port, family: 4 },
      signal: AbortSignal.timeout(10_000),
    });
    closers.push(() => edge.close({ kind: "shutdown" }));
    return edge;
  };
  return { clients, connect, retries };
}

it("a Retry costs the first connection a round trip, and none that has a token", async () => {
  const { connect, retries } = await start();
  const kept = vi.spyOn(AddressTokens.prototype, "keep");
  await connect();
  // One for each datagram of the ClientHello.
  const first = retries();
  expect(first).toBeGreaterThan(0);
  await vi.waitFor(() => expect(kept).toHaveBeenCalledOnce());
  await connect();
  expect(retries()).toBe(first);
  await vi.waitFor(() => expect(kept).toHaveBeenCalledTimes(2));
  kept.mockRestore();
});

it("the local port stays from one life of a connection to the next", async () => {
  const { clients, connect } = await start();
  const first = await connect();
  await first.close({ kind: "shutdown" });
  await connect();
  expect(clients).toHaveLength(2);
  expect(clients[1]).toBe(clients[0]);
});

it("tokens are used once, the newest of an address, and of so many addresses at most", () => {
  const tokens = new AddressTokens();
  for (let i = 0; i < 200; i++) tokens.keep(`192.0.2.${i}`, Buffer.from([i]));
  tokens.keep("192.0.2.150", Buffer.from("newest"));
  expect(tokens.take("192.0.2.150")?.toString()).toBe("newest");
  expect(tokens.take("192.0.2.150")).toBeUndefined();
  tokens.keep("192.0.2.1", Buffer.alloc(513));
  expect(tokens.take("192.0.2.1")).toBeUndefined();
  expect([tokens.take("192.0.2.135"), tokens.take("192.0.2.136")]).toEqual([undefined, Buffer.from([136])]);
});
