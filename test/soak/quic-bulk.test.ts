import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPeer, required, skipWithout } from "../peers.ts";
import { Interop } from "../interop/quic/ours.ts";
import { PeerProgram } from "../interop/quic/peer-process.ts";
import { digest } from "../interop/quic/workload.ts";

const GB = 1_000_000_000;
const binary = findPeer("QUIC_GO_PEER");

describe.skipIf(skipWithout(binary))("1 GB with quic-go", () => {
  const rig = new Interop();
  let program: PeerProgram;
  beforeAll(() => {
    program = new PeerProgram([required(binary, "QUIC_GO_PEER")]);
  });
  afterAll(async () => {
    await rig.end();
    await program.remove();
  });

  it("each way, quic-go as the server", { timeout: 600_000 }, async () => {
    const client = await rig.client((await program.server()).port);
    expect(await client.ask(`source ${GB}`).answer).toMatchObject({ bytes: GB, wrong: -1, end: "end" });
    expect((await client.ask("sink", { payload: GB }).answer).text).toBe(digest(GB));
  });

  it("each way, quic-go as the client", { timeout: 600_000 }, async () => {
    const { port } = await rig.server();
    for (const task of ["download", "upload"]) {
      const client = program.client(port, "--do", task, "--n", `${GB}`);
      expect(await client.next("result")).toMatchObject({ ok: true });
    }
  });

  it("to a consumer that takes it in steps: memory stays flat", { timeout: 600_000 }, async () => {
    const client = await rig.client((await program.server()).port);
    await client.ask("source 10000000").answer;
    const before = process.memoryUsage().rss;
    let held = 0;
    let worst = 0;
    const { answer, stream } = client.ask(`source ${GB}`, {
      onData: (chunk) => {
        held += chunk.length;
        return 0;
      },
    });
    const timer = setInterval(() => {
      stream.consumed(held);
      held = 0;
      client.wake();
      worst = Math.max(worst, process.memoryUsage().rss);
    }, 20);
    expect(await answer).toMatchObject({ bytes: GB, wrong: -1 });
    clearInterval(timer);
    expect(worst - before).toBeLessThan(128 << 20);
  });
});
