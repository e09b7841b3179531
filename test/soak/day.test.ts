/**
 * A day as days are: fifty requests a second, and a connection that is lost every ten minutes. Half an hour of it, or DAY_MINUTES
 * (1440 is the day). Nobody notices, and nothing grows.
 */
import { expect, it } from "vitest";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { startConnector } from "../chaos/connector.ts";
import { startNameServer, zoneOf } from "../chaos/names.ts";
import { startOrigin } from "../chaos/origin.ts";
import { describeSteadiness, type Sample, steadinessOf } from "../chaos/steadiness.ts";
import { type Failure, startVisitors } from "../chaos/visitors.ts";

const MIB = 2 ** 20;
const HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"];
const CONNECTIONS = 4;
const minutes = Number(process.env.DAY_MINUTES ?? 30);
const dayMs = minutes * 60_000;
const DROP_EVERY_MS = 10 * 60_000;
const SAMPLE_EVERY_MS = 5_000;
/** Caches fill, and code is compiled. */
const WARM_UP_MS = Math.min(dayMs / 3, 10 * 60_000);
/** From then on what the runtime itself does with its memory no longer hides what an hour adds. */
const LONG_MS = 6 * 3_600_000;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

it.skipIf(process.platform !== "linux")(
  `${minutes} minutes at 50 requests a second, a connection lost every ten: 99.9 % are served, and nothing grows`,
  { timeout: dayMs + 10 * 60_000 },
  async () => {
    const origin = await startOrigin();
    const edge = await startMockEdge({ edgeHosts: HOSTS });
    const names = await startNameServer(zoneOf(HOSTS, Number(edge.edgeAddress.split(":").at(-1))), "up");
    const { token } = edge.issueTunnel();
    const cacert = await edge.caFile();
    const connector = startConnector({ token, cacert, nameServer: names.address, originPort: origin.port });
    const timers: NodeJS.Timeout[] = [];
    const failures: string[] = [];
    try {
      while ((await connector.readyConnections()) < CONNECTIONS) await sleep(200);
      let requests = 0;
      const onEnd = (id: number, failure: Failure | undefined): void => {
        if (failure !== undefined) failures.push(`${id}: ${failure.kind} ${failure.detail}`);
      };
      const visitors = startVisitors({
        publicUrl: edge.publicUrl,
        perSecond: 50,
        firstId: 0,
        onStart: () => requests++,
        onEnd,
      });
      const began = performance.now();
      const samples: Sample[] = [];
      const sample = async (): Promise<void> => {
        const { descriptors, heapBytes, residentBytes } = await connector.figures();
        samples.push({ atMs: performance.now() - began, heapUsed: heapBytes, rss: residentBytes, fds: descriptors });
      };
      timers.push(
        setInterval(() => void sample().catch((error: unknown) => failures.push(String(error))), SAMPLE_EVERY_MS),
      );
      const ways = ["drop", "reset", "close", "goaway"] as const;
      const until = (atMs: number): Promise<void> => sleep(Math.max(0, began + atMs - performance.now()));
      for (let drop = 0; (drop + 0.5) * DROP_EVERY_MS < dayMs; drop++) {
        await until((drop + 0.5) * DROP_EVERY_MS);
        edge.connections[drop % CONNECTIONS]?.[ways[drop % ways.length] ?? "drop"]();
      }
      await until(dayMs);
      for (const timer of timers) clearInterval(timer);
      await visitors.stop();
      // Connections to the origin that nobody uses are given up after two seconds.
      await sleep(5_000);
      const steadiness = steadinessOf(samples, { warmUpMs: WARM_UP_MS });
      console.log(`${requests} requests, ${failures.length} failed\n${failures.slice(0, 40).join("\n")}`);
      console.log(describeSteadiness(steadiness));
      expect(failures.length / requests).toBeLessThan(0.001);
      expect(connector.halfClosed()).toBe(0);
      expect(await connector.bytesInStreams()).toBe(0);
      expect(steadiness.growth.fds).toBeLessThan(4);
      if (dayMs >= LONG_MS) expect(steadiness.perHour.rss).toBeLessThan(MIB);
      else {
        expect(steadiness.growth.heapUsed).toBeLessThan(4 * MIB);
        expect(steadiness.growth.rss).toBeLessThan(24 * MIB);
      }
    } finally {
      for (const timer of timers) clearInterval(timer);
      connector.command.child.kill("SIGKILL");
      await connector.command.exit;
      await names.close();
      await edge.close();
      await origin.close();
    }
  },
);
