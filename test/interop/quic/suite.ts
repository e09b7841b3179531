/** What each independent peer must agree with us about, as a server and as a client. */
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { createAuthority } from "../../../src/mock-edge/ca.ts";
import type { CipherSuite } from "../../../src/protocol/tls13/session.ts";
import { required, skipWithout } from "../../peers.ts";
import { startRelay } from "./lossy-relay.ts";
import { type Client, Interop } from "./ours.ts";
import { PeerProgram } from "./peer-process.ts";
import { digest, PATTERN } from "./workload.ts";

export interface SuiteOptions {
  readonly name: string;
  /** The binary's or interpreter's path, where there is one, and the variable that names it. */
  readonly binary: string | undefined;
  readonly variable: string;
  /** What stands before the program's arguments. */
  readonly script?: string;
  /** Sizes in bytes. */
  readonly bulk: number;
  readonly streams: number;
  /** A second, as the program wants it. */
  readonly second: string;
}

export interface PeerSuite {
  readonly rig: Interop;
  /** Fails the test where the peer is required and missing. */
  readonly program: () => PeerProgram;
}

const SUITES: readonly CipherSuite[] = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
];

export const LONG = { timeout: 180_000 };

/** Runs `tasks` of them, `width` at a time. */
export async function inTurns(count: number, width: number, task: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

async function expectBulk(client: Client, bytes: number): Promise<void> {
  const down = await client.ask(`source ${bytes}`).answer;
  expect(down).toMatchObject({ bytes, wrong: -1, end: "end" });
  const up = await client.ask("sink", { payload: bytes }).answer;
  expect(up).toMatchObject({ text: digest(bytes), end: "end" });
}

export function interopSuite(options: SuiteOptions, more: (suite: PeerSuite) => void): void {
  const { binary, bulk, name, script, second, streams } = options;
  describe.skipIf(skipWithout(binary))(`QUIC with ${name}`, () => {
    const rig = new Interop();
    let started: PeerProgram | undefined;
    const program = (): PeerProgram =>
      (started ??= new PeerProgram([required(binary, options.variable), ...(script === undefined ? [] : [script])]));
    afterEach(async () => {
      await rig.end();
      await started?.end();
    });
    afterAll(() => started?.remove());

    describe("as the server", () => {
      it.each(SUITES)("shakes hands with %s", async (suite) => {
        const { process, port } = await program().server();
        const client = await rig.client(port, { tls: { suites: [suite] } });
        expect(client.info).toMatchObject({ alpn: "interop", suite, group: "X25519" });
        expect(await process.next("connected")).toMatchObject({ alpn: "interop", suite });
        expect(await client.ask("echo", { payload: 5_000 }).answer).toMatchObject({
          bytes: 5_000,
          wrong: -1,
          end: "end",
        });
      });

      it("is refused under another name, and by who does not know its authority", async () => {
        const { port } = await program().server();
        await expect(rig.client(port, { tls: { serverName: "other.test" } })).rejects.toThrow(/CRYPTO_ERROR/);
        const stranger = createAuthority().certPem;
        await expect(rig.client(port, { tls: { roots: [stranger] } })).rejects.toThrow(/CRYPTO_ERROR/);
      });

      it("sends Retry", async () => {
        const { port } = await program().server("--retry");
        const client = await rig.client(port);
        expect(await client.ask("echo", { payload: 100 }).answer).toMatchObject({ bytes: 100, wrong: -1 });
      });

      it(`moves ${bulk >>> 20} MiB each way`, LONG, async () => {
        const { port } = await program().server();
        const client = await rig.client(port);
        await expectBulk(client, bulk);
      });

      it("follows our key updates", async () => {
        const { port } = await program().server();
        const client = await rig.client(port);
        for (let updates = 0; updates < 3; ) {
          // One at a time: the next may follow once the peer has answered under the new keys, and the old ones are gone.
          if (client.connection.keyUpdate()) updates++;
          expect(await client.ask("echo", { payload: 3_000 }).answer).toMatchObject({ bytes: 3_000, wrong: -1 });
        }
        expect(client.connection.stats.keyUpdates).toBeGreaterThanOrEqual(3);
      });

      it(`answers on ${streams} streams`, LONG, async () => {
        const { port } = await program().server();
        const client = await rig.client(port);
        let good = 0;
        await inTurns(streams, 100, async () => {
          const answer = await client.askWhenAllowed("echo", { payload: 200 });
          if (answer.bytes === 200 && answer.wrong === -1 && answer.end === "end") good++;
        });
        expect(good).toBe(streams);
      });

      it("resets and stops streams, and hears of it when we do", async () => {
        const { process, port } = await program().server();
        const client = await rig.client(port);
        expect(await client.ask("reset 41").answer).toMatchObject({ end: { reset: 41 } });
        const stopped = await client.ask("stop 42", { payload: 50_000_000 }).answer;
        expect(stopped).toMatchObject({ stopped: 42, text: "stopped", end: "end" });
        const { stream } = client.ask("sink", { fin: false });
        stream.write(PATTERN, false);
        await client.ask("echo", { payload: 200 }).answer;
        stream.reset(43);
        client.wake();
        expect(await process.next("stream")).toMatchObject({ end: { kind: "stream", code: 43 } });
        // The connection is as good as before.
        expect(await client.ask("echo", { payload: 200 }).answer).toMatchObject({ bytes: 200, wrong: -1 });
      });

      it("echoes datagrams", async () => {
        const { port } = await program().server();
        const client = await rig.client(port);
        for (let i = 1; i <= 20; i++) await client.echoDatagram(PATTERN.subarray(i, i + 50 * i));
      });

      it("hears our close, with code and words; and we hear its", async () => {
        const { process, port } = await program().server();
        const client = await rig.client(port);
        await process.next("connected");
        client.close(9, "goodbye");
        expect(await process.next("closed")).toMatchObject({ kind: "application", code: 9, reason: "goodbye" });
        const other = await rig.client(port);
        other.ask("close 77 enough of it");
        expect(await other.closed).toMatchObject({ end: "peer-application", errorCode: 77, reason: "enough of it" });
      });

      it("agrees when a connection has been idle for too long", async () => {
        const { process, port } = await program().server("--idle", second);
        const client = await rig.client(port);
        await process.next("connected");
        expect(await client.closed).toMatchObject({ end: "idle-timeout" });
        expect(await process.next("closed")).toMatchObject({ kind: "idle" });
      });

      it("is kept awake", async () => {
        const { port } = await program().server("--idle", second);
        const client = await rig.client(port, { keepAlive: 300 });
        // Twice as long as the peer would have waited in silence.
        const twice = new Promise<string>((resolve) => setTimeout(resolve, 2_000, "awake"));
        expect(await Promise.race([twice, client.closed])).toBe("awake");
        expect(await client.ask("echo", { payload: 200 }).answer).toMatchObject({ bytes: 200 });
      });

      it("gets through with loss, repetition and reordering", LONG, async () => {
        const { port } = await program().server();
        const relay = await startRelay(port, { seed: 11, loss: 0.03, duplicate: 0.02, reorder: 0.02, delay: 5 });
        rig.onCleanup(() => relay.close());
        const client = await rig.client(relay.port);
        await expectBulk(client, 1_500_000);
        expect(relay.dropped).toBeGreaterThan(20);
      });
    });

    describe("as the client", () => {
      const result = { event: "result", ok: true };

      it.each(SUITES)("shakes hands with %s", async (suite) => {
        const { port, accepted } = await rig.server({ tls: { suites: [suite] } });
        const client = program().client(port, "--do", "download", "--n", "7");
        expect(await client.next("connected")).toMatchObject({ alpn: "interop", suite });
        expect(await client.next("result")).toMatchObject(result);
        expect(await accepted[0]?.closed).toMatchObject({ end: "peer-application", errorCode: 7, reason: "done" });
      });

      it("is asked to come again by a Retry", async () => {
        const { port } = await rig.server({ alwaysRetry: true });
        expect(await program().client(port, "--do", "upload", "--n", "100000").next("result")).toMatchObject(result);
      });

      it(`moves ${bulk >>> 20} MiB each way`, LONG, async () => {
        const { port } = await rig.server();
        for (const task of ["download", "upload"]) {
          const client = program().client(port, "--do", task, "--n", `${bulk}`);
          expect(await client.next("result")).toMatchObject(result);
        }
      });

      it("follows our key updates", async () => {
        const { port, accepted } = await rig.server({ keyUpdateInterval: 200 });
        const client = program().client(port, "--do", "download", "--n", "3000000");
        expect(await client.next("result")).toMatchObject(result);
        expect(accepted[0]?.connection?.stats.keyUpdates).toBeGreaterThan(0);
      });

      it(`asks on ${streams} streams`, LONG, async () => {
        const { port } = await rig.server();
        const client = program().client(port, "--do", "streams", "--n", `${streams}`);
        expect(await client.next("result")).toMatchObject({ ...result, streams });
      });

      it("hears of reset and stopped streams, and tells of its own", async () => {
        const { port, accepted } = await rig.server();
        const client = program().client(port, "--do", "reset");
        expect(await client.next("result")).toMatchObject({
          ...result,
          reset: { kind: "stream", code: 41 },
          stop: { kind: "stream", code: 42 },
        });
        await accepted[0]?.closed;
        expect(accepted[0]?.events).toEqual(expect.arrayContaining(["reset 43"]));
      });

      it("gets its datagrams back", async () => {
        const { port } = await rig.server();
        expect(await program().client(port, "--do", "datagrams", "--n", "20").next("result")).toMatchObject(result);
      });

      it("hears our close", async () => {
        const { port } = await rig.server();
        expect(await program().client(port, "--do", "closed").next("result")).toMatchObject({
          end: { kind: "application", code: 77, reason: "enough of it" },
        });
      });

      it("agrees when a connection has been idle for too long", async () => {
        const { port, accepted } = await rig.server({ maxIdleTimeout: 1_000 });
        const client = program().client(port, "--do", "idle");
        expect(await client.next("result")).toMatchObject({ end: { kind: "idle" } });
        expect(await accepted[0]?.closed).toMatchObject({ end: "idle-timeout" });
      });

      it("gets through with loss, repetition and reordering", LONG, async () => {
        const { port } = await rig.server();
        const relay = await startRelay(port, { seed: 12, loss: 0.03, duplicate: 0.02, reorder: 0.02, delay: 5 });
        rig.onCleanup(() => relay.close());
        for (const task of ["download", "upload"]) {
          const client = program().client(relay.port, "--do", task, "--n", "1500000");
          expect(await client.next("result")).toMatchObject(result);
        }
      });
    });

    more({ rig, program });
  });
}
