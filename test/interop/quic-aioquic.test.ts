import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { findPeer } from "../peers.ts";
import { interopSuite } from "./quic/suite.ts";

interopSuite(
  {
    name: "aioquic",
    binary: findPeer("AIOQUIC_PYTHON"),
    variable: "AIOQUIC_PYTHON",
    script: fileURLToPath(new URL("aioquic/peer.py", import.meta.url)),
    bulk: 16 * 1024 * 1024,
    streams: 500,
    second: "1",
  },
  ({ rig, program }) => {
    it("updates its own keys, as client and as server, and we follow", async () => {
      const { port, accepted } = await rig.server();
      const peer = program().client(port, "--do", "key-update", "--n", "300000");
      expect(await peer.next("result")).toMatchObject({ ok: true });
      expect(accepted[0]?.connection?.stats.keyUpdates).toBe(3);
      const client = await rig.client((await program().server()).port);
      for (let i = 1; i <= 3; i++) {
        expect(await client.ask("key-update").answer).toMatchObject({ text: "updated" });
        expect(await client.ask("source 300000").answer).toMatchObject({ bytes: 300_000, wrong: -1 });
        expect(client.connection.stats.keyUpdates).toBe(i);
      }
    });
  },
);
