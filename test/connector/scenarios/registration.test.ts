/** How connections register (cases REG of the list), over both transports, in virtual time. */
import { describe, expect, it } from "vitest";
import { RegistrationRefusedError } from "../../../src/index.ts";
import type { Fault } from "../../../src/mock-edge/index.ts";
import { abortMessage } from "../../../src/rpc/message-writing.ts";
import type { RegistrationResult } from "../../../src/rpc/registration-client.ts";
import { serveRegistration } from "../../../src/rpc/registration-server.ts";
import type { ByteChannel } from "../../../src/types.ts";
import {
  advance,
  ask,
  getJson,
  inVirtualTime,
  pumped,
  readiness,
  serveControl,
  stateOf,
  until,
  type VirtualOptions,
  type VirtualRig,
} from "./virtual-edge.ts";

const accepted = (remotelyManaged = true): RegistrationResult => ({
  kind: "registered",
  connectionId: crypto.randomUUID(),
  location: "LAB01",
  remotelyManaged,
});

/** Serves a registration by hand; what is given replaces the answers. */
function byHand(channel: ByteChannel, answers: Partial<Parameters<typeof serveRegistration>[1]> = {}) {
  return serveRegistration(channel, {
    registerConnection: () => accepted(),
    unregisterConnection() {},
    updateLocalConfiguration() {},
    ...answers,
  });
}

const retries = ({ lines }: VirtualRig) => lines.filter(({ message }) => message.startsWith("Retrying connection"));

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  const scenario = (run: (rig: VirtualRig) => Promise<void>, options?: VirtualOptions) =>
    inVirtualTime(protocol, run, options);

  it("REG-01: a registration says who calls and what for, and makes the tunnel ready", () =>
    scenario(async ({ edge, open }) => {
      const tunnel = await open({ metrics: 0 });
      const [registration] = edge.registrations;
      expect(registration).toMatchObject({
        credentials: "valid",
        connIndex: 0,
        clientId: tunnel.connectorId,
        tunnelId: tunnel.tunnelId,
        originLocalIp: "127.0.0.1",
        replaceExisting: false,
        numPreviousAttempts: 0,
        arch: expect.stringMatching(/^[a-z]+_[a-z0-9]+$/),
      });
      expect([...(registration?.features ?? [])].sort()).toEqual([
        "allow_remote_config",
        "management_logs",
        "serialized_headers",
        "support_datagram_v2",
        "support_quic_eof",
      ]);
      expect(await readiness(tunnel)).toEqual({
        status: 200,
        body: { status: 200, readyConnections: 1, connectorId: tunnel.connectorId },
      });
      await advance(1_000);
      const report = { state: "registered", protocol, roundTripMs: expect.any(Number), requests: 0, reconnects: 0 };
      expect(tunnel.connections).toMatchObject([report]);
      expect(await getJson(tunnel, "/diag/tunnel")).toMatchObject({
        status: 200,
        body: { connections: [{ isConnected: true }], underpass: { connections: [report] } },
      });
    }));

  it("REG-02: of four connections index 0 comes first, the others 250 ms apart, all of one connector", () =>
    scenario(async ({ edge, logged, open }) => {
      const tunnel = await open({ haConnections: 4 });
      const indexes = edge.registrations.map(({ connIndex }) => connIndex);
      expect(indexes).toEqual([0, 1, 2, 3]);
      expect(new Set(edge.registrations.map(({ clientId }) => clientId))).toEqual(new Set([tunnel.connectorId]));
      const [, second, third, fourth] = logged("Registered tunnel connection").map(({ at }) => at);
      expect((third ?? 0) - (second ?? 0)).toBeLessThan(400);
      expect((fourth ?? 0) - (second ?? 0)).toBeGreaterThan(350);
      expect((fourth ?? 0) - (second ?? 0)).toBeLessThan(800);
    }));

  it("REG-03: with one address there is one connection, and a line that tells both numbers", () =>
    scenario(async ({ edge, logged, start }) => {
      await pumped(start({ haConnections: 4, edge: edge.edgeAddress }).tunnel);
      await advance(10_000);
      expect(edge.registrations).toHaveLength(1);
      expect(logged("HA connections").map(({ message }) => message)).toEqual([expect.stringMatching(/\b4\b.*\b1\b/)]);
    }));

  it("REG-04: the call does not wait for the answer to the bootstrap", () =>
    scenario(async ({ edge, start }) => {
      const held: Uint8Array[] = [];
      let answer = (): void => {};
      const served = serveControl(edge, (channel) => {
        channel.onData = (chunk) => void held.push(Uint8Array.from(chunk));
        answer = () => {
          byHand(channel);
          for (const chunk of held) channel.onData(chunk);
        };
      });
      const { tunnel } = start();
      await until(() => served.log !== undefined);
      await advance(1_000);
      expect(served.log).toMatchObject({ messages: ["bootstrap", "call"], targets: ["promisedAnswer"] });
      answer();
      await pumped(tunnel);
      expect(edge.connections).toHaveLength(1);
    }));

  it("REG-05: a bootstrap that is answered at once is as good", () =>
    scenario(async ({ edge, start }) => {
      const served = serveControl(edge, (channel) => void byHand(channel));
      await pumped(start().tunnel);
      expect(served.log?.messages.slice(0, 2)).toEqual(["bootstrap", "call"]);
      expect(["importedCap", "promisedAnswer"]).toContain(served.log?.targets[0]);
    }));

  it("row 6: an answer that comes byte by byte is the same answer", () =>
    scenario(async ({ edge, start }) => {
      serveControl(edge, (channel) => {
        const write = channel.write.bind(channel);
        channel.write = (bytes) => {
          for (const byte of bytes) write(Uint8Array.of(byte));
        };
        byHand(channel);
      });
      const tunnel = await pumped(start().tunnel);
      expect(tunnel.connections).toMatchObject([{ state: "registered", location: "LAB01" }]);
    }));

  it("REG-06: where the tunnel is managed here, connection 0 tells its configuration, and no other", () =>
    scenario(
      async ({ edge, open }) => {
        await open({ haConnections: 4, origin: "http://localhost:1" });
        await advance(5_000);
        expect(edge.localConfigurations.map(({ connIndex }) => connIndex)).toEqual([0]);
        expect(JSON.parse(edge.localConfigurations[0]?.config ?? "")).toEqual({
          __configuration_flags: { protocol },
          ingress: [{ service: "http://localhost:1", originRequest: {} }],
          "warp-routing": {},
        });
      },
      { remotelyManaged: false },
    ));

  it("REG-06: where it is managed by Cloudflare, none does", () =>
    scenario(async ({ edge, open }) => {
      await open({ haConnections: 2 });
      await advance(5_000);
      expect(edge.localConfigurations).toEqual([]);
    }));

  it.each([
    ["an exception", () => Promise.reject(new Error("no configuration, please"))],
    ["no answer", () => new Promise<void>(() => {})],
  ])(
    "REG-07: %s to the configuration is a line in the log, and the connection stays",
    (_what, updateLocalConfiguration) =>
      scenario(async ({ edge, logged, start }) => {
        serveControl(edge, (channel) => {
          byHand(channel, { registerConnection: () => accepted(false), updateLocalConfiguration });
        });
        const tunnel = await pumped(start().tunnel);
        await advance(10_000);
        expect(logged("Telling the edge the local configuration failed")).toMatchObject([{ level: "warn" }]);
        expect(tunnel.connections).toMatchObject([{ state: "registered", reconnects: 0 }]);
        expect(edge.connections).toHaveLength(1);
      }),
  );

  it("REG-08: a registration that is never answered is given up after 5 s, in order, and tried again", () =>
    scenario(async (rig) => {
      const { edge, start } = rig;
      const served = serveControl(edge, (channel) => {
        byHand(channel, { registerConnection: () => new Promise(() => {}) });
      });
      const { tunnel } = start();
      await until(() => served.log !== undefined);
      await advance(4_900);
      expect(served.log?.ended).toBe(false);
      expect(retries(rig)).toEqual([]);
      await advance(200);
      expect(served.log?.ended).toBe(true);
      expect(served.log?.messages).toEqual(expect.arrayContaining(["bootstrap", "call", "finish", "abort"]));
      await pumped(tunnel);
      await until(() => edge.connections.length === 1);
      expect(retries(rig)).toHaveLength(1);
    }));

  it("REG-09, row 5: a duplicate goes to another address, of another region, under the same index", () =>
    scenario(
      async (rig) => {
        const { edges, open } = rig;
        for (const edge of edges) edge.fail({ kind: "duplicate" }, { connIndex: 1 });
        // Only whoever comes second meets the other fault.
        await open({ haConnections: 2 });
        const who = edges.map(({ registrations }) => registrations.filter(({ connIndex }) => connIndex === 1).length);
        // Refused by the one, then by the other, then taken.
        expect(who.sort((a, b) => a - b)).toEqual([1, 2]);
        expect(retries(rig)).toHaveLength(2);
      },
      { edges: 2 },
    ));

  it("REG-10: Unauthorized is tried again, and the waits grow", () =>
    scenario(async (rig) => {
      const { edge, start } = rig;
      edge.fail({ kind: "refuse", cause: "Unauthorized: Failed to get tunnel" }, { times: 3 });
      await pumped(start().tunnel);
      expect(edge.registrations.map(({ numPreviousAttempts }) => numPreviousAttempts)).toEqual([0, 1, 2, 3]);
      expect(retries(rig).map(({ message }) => message)).toEqual(
        [2, 4, 8].map((s) => `Retrying connection in up to ${s}s`),
      );
    }));

  it(`${protocol === "http2" ? "REG-11" : "REG-12"}, row 4: a first refusal without retry ends the tunnel, with the edge's words`, () =>
    scenario(async ({ edge, logged, start }) => {
      edge.fail({ kind: "refuse", cause: "Tunnel 4711 was deleted" });
      const failure: unknown = await pumped(start().tunnel.catch((error: unknown) => error));
      expect(failure).toBeInstanceOf(RegistrationRefusedError);
      expect(failure).toMatchObject({ reason: "Tunnel 4711 was deleted", shouldRetry: false });
      expect(logged("Register tunnel error from server side")).toMatchObject([{ level: "error" }]);
      await advance(60_000);
      expect(edge.registrations).toHaveLength(1);
      expect(edge.connections).toEqual([]);
    }));

  it(`${protocol === "http2" ? "REG-11" : "REG-12"}: a first refusal that may be retried is`, () =>
    scenario(async ({ edge, start }) => {
      edge.fail({ kind: "refuse", cause: "busy", shouldRetry: true }, { times: 12 });
      await pumped(start().tunnel, 3_600_000);
      expect(edge.registrations).toHaveLength(13);
    }));

  it("REG-13: once a connection has registered no refusal is final, of another index or later", () =>
    scenario(async ({ edge, open }) => {
      edge.fail({ kind: "refuse", cause: "there is no such tunnel" }, { connIndex: 1, times: 8 });
      const tunnel = await open({ haConnections: 2 });
      expect(edge.registrations.filter(({ connIndex }) => connIndex === 1)).toHaveLength(9);
      edge.fail({ kind: "refuse", cause: "there is no such tunnel" }, { times: 14 });
      edge.dropConnections();
      await until(() => tunnel.connections.some(({ state }) => state !== "registered"));
      await until(() => tunnel.connections.every(({ state }) => state === "registered"), 3_600_000);
    }));

  it("REG-14, row 4: no attempt comes before the time that the edge asked for", () =>
    scenario(async ({ edge, start }) => {
      edge.fail({ kind: "refuse", cause: "busy", shouldRetry: true, retryAfterMs: 60_000 });
      const { tunnel } = start();
      await until(() => edge.registrations.length === 1);
      await advance(59_900);
      expect(edge.registrations).toHaveLength(1);
      await pumped(tunnel);
      expect(edge.registrations).toHaveLength(2);
    }));

  const faults: [id: string, what: string, fault: Fault][] = [
    ["REG-15", "a connection id of 5 bytes", { kind: "uuid-length", length: 5 }],
    ["REG-15", "a result that is neither error nor details", { kind: "unknown-result" }],
    ["REG-15", "an exception in the place of a result", { kind: "exception", reason: "it broke" }],
    ["REG-16", "64 bytes 0xff", { kind: "malformed" }],
    ["REG-16", "a segment of 4 GiB", { kind: "malformed", bytes: Buffer.from("00000000ffffffff", "hex") }],
    [
      "REG-16",
      "4,096 segments",
      { kind: "malformed", bytes: Buffer.concat([Buffer.from("ff0f0000", "hex"), Buffer.alloc(4096 * 4 + 4)]) },
    ],
    ["REG-17", "the control stream's end before the answer", { kind: "end-control-stream" }],
    ["REG-17", "the control stream's reset before the answer", { kind: "reset-control-stream" }],
    ["REG-17", "the connection's end before the answer", { kind: "drop" }],
    [
      "REG-17",
      "the control stream's end before the first answer",
      { kind: "control", serve: (channel) => channel.end() },
    ],
  ];
  it.each(faults)("%s: after %s it is tried again, and nothing of the failed connection is left", (_id, _what, fault) =>
    scenario(async (rig) => {
      const { edge, start } = rig;
      edge.fail(fault);
      const before = process.memoryUsage().arrayBuffers;
      await pumped(start().tunnel);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
      expect(retries(rig)).toHaveLength(1);
      await until(() => edge.connections.length === 1);
      expect(stateOf(edge)).toEqual(["registered"]);
    }),
  );

  const tcpFaults: Fault[] = [
    { kind: "close-at-accept" },
    { kind: "raw", serve: (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") },
  ];
  it.runIf(protocol === "http2").each(tcpFaults)("an edge that fails by $kind is tried again", (fault) =>
    scenario(async (rig) => {
      const { edge, start } = rig;
      edge.fail(fault);
      await pumped(start().tunnel);
      expect(retries(rig)).toHaveLength(1);
      await until(() => edge.connections.length === 1);
    }),
  );

  it.each([
    ["REG-18, row 7: the control stream's end", { kind: "end-control-after" }],
    ["REG-18, row 7: the control stream's reset", { kind: "reset-control-after" }],
    [
      "REG-19: an Abort on the control stream",
      {
        kind: "control",
        serve: (channel) => {
          byHand(channel);
          setTimeout(() => channel.write(abortMessage("enough")), 1_000);
        },
      },
    ],
  ] as [what: string, fault: Fault][])(
    "%s after the registration costs no request: the connection is replaced, then drained",
    (_what, fault) =>
      scenario(async ({ edge, logged, start }) => {
        edge.fail(fault);
        const tunnel = await pumped(start({ metrics: 0 }).tunnel);
        const [old] = edge.connections;
        let replaced = false;
        const errors: unknown[] = [];
        tunnel.once("disconnected", (_info, error) => {
          replaced = true;
          if (error !== undefined) errors.push(error);
        });
        let served = 0;
        while (!replaced) {
          if (fault.kind !== "control") expect(await ask(edge)).toEqual({ status: 200, text: "served" });
          expect(await readiness(tunnel)).toMatchObject({ status: 200 });
          served++;
          await advance(100);
        }
        expect(served).toBeGreaterThan(1);
        expect(errors).toEqual([]);
        await until(() => old !== undefined && !edge.connections.includes(old));
        expect(stateOf(edge)).toEqual(["registered"]);
        expect(logged("ended the control stream")).toMatchObject([{ level: "info" }]);
        expect(tunnel.connections).toMatchObject([{ state: "registered", reconnects: 1 }]);
      }),
  );

  it.runIf(protocol === "http2")(
    "REG-20: an edge that opens no control stream is given up after 15 s, and tried again",
    () =>
      scenario(async (rig) => {
        const { edge, start } = rig;
        edge.fail({ kind: "no-control-stream" });
        const { tunnel } = start();
        await until(() => edge.connections.length === 1);
        await advance(14_800);
        expect(retries(rig)).toEqual([]);
        await advance(400);
        expect(retries(rig)).toMatchObject([
          { fields: { error: expect.stringContaining("no control stream within 15 s") } },
        ]);
        await pumped(tunnel);
      }),
  );
});
