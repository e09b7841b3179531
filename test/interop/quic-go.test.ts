import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { loadMlKem } from "../../src/protocol/tls13/ml-kem.ts";
import { findPeer } from "../peers.ts";
import { interopSuite, LONG } from "./quic/suite.ts";

const MIB = 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

interopSuite(
  {
    name: "quic-go",
    binary: findPeer("QUIC_GO_PEER"),
    variable: "QUIC_GO_PEER",
    bulk: 256 * MIB,
    streams: 10_000,
    second: "1s",
  },
  ({ rig, program }) => {
    it("insists on P-256 by a HelloRetryRequest", async () => {
      const { port } = await program().server("--groups", "P-256");
      const client = await rig.client(port, { tls: { groups: ["X25519", "P-256"] } });
      expect(client.info.group).toBe("P-256");
      expect(await client.ask("echo", { payload: 200 }).answer).toMatchObject({ bytes: 200, wrong: -1 });
    });

    it("is sent a HelloRetryRequest", async () => {
      const { port } = await rig.server({ tls: { groups: ["P-256"] } });
      const client = program().client(port, "--groups", "X25519,P-256", "--do", "download", "--n", "1000");
      expect(await client.next("connected")).toMatchObject({ group: "CurveP256" });
      expect(await client.next("result")).toMatchObject({ ok: true });
    });

    it("agrees on X25519MLKEM768, both ways, also behind a Retry", async () => {
      const mlKem = await loadMlKem();
      if (mlKem === undefined) throw new Error("no ML-KEM");
      const tls = { mlKem, groups: ["X25519MLKEM768", "P-256"] as const };
      const { port } = await program().server("--retry", "--groups", "X25519MLKEM768");
      expect((await rig.client(port, { tls })).info.group).toBe("X25519MLKEM768");
      const ours = await rig.server({ tls, alwaysRetry: true });
      const client = program().client(ours.port, "--do", "download", "--n", "1000");
      expect(await client.next("connected")).toMatchObject({ group: "X25519MLKEM768" });
      expect(await client.next("result")).toMatchObject({ ok: true });
    });

    it("updates its own keys, and we follow", LONG, async () => {
      const { port } = await program().server();
      const client = await rig.client(port);
      await client.ask("source 2000000").answer;
      await client.ask("source 2000000").answer;
      expect(client.connection.stats.keyUpdates).toBeGreaterThan(0);
    });

    it("holds 5,000 streams in more than twice the memory that we need", LONG, async () => {
      const { process: peer, port } = await program().server("--streams", "6000");
      const client = await rig.client(port);
      const round = async (): Promise<{ readonly ours: number; readonly theirs: number }> => {
        expect(await client.ask("echo", { payload: 200 }).answer).toMatchObject({ bytes: 200 });
        peer.say("memory");
        const { bytes } = await peer.next("memory");
        collect();
        const { arrayBuffers, heapUsed } = process.memoryUsage();
        return { ours: heapUsed + arrayBuffers, theirs: Number(bytes) };
      };
      const before = await round();
      for (let i = 0; i < 5_000; i++) {
        void client.ask("hold").answer;
        if (i % 100 === 0) await client.ask("echo").answer;
      }
      const after = await round();
      expect((after.ours - before.ours) / (after.theirs - before.theirs)).toBeLessThan(0.5);
    });

    it("sends 1 GB to a consumer that pauses: memory stays flat, and other streams go on", LONG, async () => {
      const { port } = await program().server();
      const client = await rig.client(port);
      await client.ask("source 1000000").answer;
      const before = process.memoryUsage().rss;
      let paused = 0;
      const { answer, stream } = client.ask("source 1000000000", {
        onData: (chunk) => {
          paused += chunk.length;
          return 0;
        },
      });
      for (let i = 0; i < 20; i++) {
        expect(await client.ask("source 2000000").answer).toMatchObject({ bytes: 2_000_000, wrong: -1 });
      }
      expect(paused).toBe(64 * 1024);
      // It goes on, holds back again with the large window that this gives it, and others still go on.
      stream.consumed(paused);
      client.wake();
      for (let i = 0; i < 20; i++) {
        expect(await client.ask("source 2000000").answer).toMatchObject({ bytes: 2_000_000, wrong: -1 });
      }
      expect(paused).toBeGreaterThanOrEqual(1024 * 1024);
      expect(paused).toBeLessThan(10 * MIB);
      expect(process.memoryUsage().rss - before).toBeLessThan(96 * MIB);
      client.close();
      expect(await answer).toMatchObject({ end: "closed" });
    });
  },
);
