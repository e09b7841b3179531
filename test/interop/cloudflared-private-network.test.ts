/** A real cloudflared, where CLOUDFLARED_BIN names one, over QUIC: UDP sessions and ICMP as the mock edge has them. */
import { type ChildProcess, spawn } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";

const binary = process.env.CLOUDFLARED_BIN ?? "";

const VERSIONS = [
  [2, []],
  [3, ["--features=support_datagram_v3_2"]],
] as const;

describe.skipIf(binary === "").each(VERSIONS)("cloudflared and datagrams of version %i", (version, features) => {
  const home = mkdtempSync(join(tmpdir(), "underpass-cloudflared-"));
  const origin = dgram.createSocket("udp4");
  let edge: MockEdge;
  let child: ChildProcess;
  let destination = "";

  beforeAll(async () => {
    edge = await startMockEdge();
    origin.on("message", (payload, { address, port }) => origin.send(Buffer.from(payload).reverse(), port, address));
    origin.bind(0, "127.0.0.1");
    await once(origin, "listening");
    destination = `127.0.0.1:${origin.address().port}`;
    writeFileSync(join(home, "ca.pem"), edge.caPem);
    child = spawn(
      binary,
      [
        "tunnel",
        ...Array.from({ length: 2 }, () => `--edge=${edge.edgeAddress}`),
        `--cacert=${join(home, "ca.pem")}`,
        "--protocol=quic",
        "--ha-connections=1",
        "--no-autoupdate",
        "--no-prechecks",
        "--metrics=127.0.0.1:0",
        "--grace-period=2s",
        "--url=http://127.0.0.1:9",
        "run",
        ...features,
      ],
      { env: { PATH: process.env.PATH ?? "", HOME: home, TUNNEL_TOKEN: edge.issueToken() }, stdio: "ignore" },
    );
    await edge.registered(1);
  });

  afterAll(async () => {
    if (child.exitCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    origin.close();
    await edge.close();
    rmSync(home, { recursive: true, force: true });
  });

  it("carries UDP sessions there and back, many at once", async () => {
    const answers = Array.from({ length: 10 }, async (_, index) => {
      const session = await edge.openUdpSession(destination);
      expect(session.version).toBe(version);
      session.send(Buffer.from(`session ${index}`));
      return Buffer.from(await session.receive())
        .reverse()
        .toString();
    });
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 10 }, (_, index) => `session ${index}`));
  });

  it("carries payloads up to their limit", async () => {
    const session = await edge.openUdpSession(destination);
    const large = Buffer.alloc(1_200, "x");
    session.send(large);
    expect((await session.receive()).equals(large)).toBe(true);
    await session.close();
  });

  it.runIf(version === 2)("tells of a session that became idle", async () => {
    const session = await edge.openUdpSession(destination, { idleMs: 500 });
    session.send(Buffer.from("once"));
    await session.receive();
    expect(await session.closed).toContain("idle");
  });
});
