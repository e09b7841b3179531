/** The command as its own process, whose figures are its own. Linux only. */
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { type Command, startCommand } from "../end-to-end/start.ts";

/** For the answer of a process that has much to do. */
const PATIENCE_MS = 60_000;

/** Of /proc/net/tcp. */
const CLOSE_WAIT = "08";

export interface Figures {
  /** Of the heap and of buffers, after a collection. */
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly descriptors: number;
}

export interface Connector {
  readonly command: Command;
  descriptors(): number;
  residentBytes(): number;
  /** Its sockets that the other side has ended, and it has not (CLOSE_WAIT). */
  halfClosed(): number;
  figures(): Promise<Figures>;
  /** As the connector sees it; 0 before it listens for such questions. */
  readyConnections(): Promise<number>;
  /** What all streams hold, by the connector's own count. */
  bytesInStreams(): Promise<number>;
}

export interface ConnectorOptions {
  readonly token: string;
  readonly cacert: string;
  readonly nameServer: string;
  readonly originPort: number;
}

export function startConnector(options: ConnectorOptions): Connector {
  const { cacert, nameServer, originPort, token } = options;
  const flags = ["--cacert", cacert, "--protocol", "auto", "--metrics", "127.0.0.1:0", "--output", "json"];
  // Idle connections to the origin go soon, so that those that are left can be counted.
  const origin = ["--url", `http://127.0.0.1:${originPort}`, "--proxy-keepalive-timeout", "2s"];
  const command = startCommand(["run", ...flags, ...origin], {
    nodeArgs: ["--expose-gc", "--import", join(import.meta.dirname, "preload.mjs")],
    env: { ...process.env, TUNNEL_TOKEN: token, CHAOS_NAME_SERVER: nameServer },
  });
  /** Of the metrics server; undefined before it listens. */
  const ask = async (path: string): Promise<string | undefined> => {
    const metrics = /Starting metrics server on ([^/]+)/.exec(command.output.stderr)?.[1];
    if (metrics === undefined) return undefined;
    const response = await fetch(`http://${metrics}${path}`, { headers: { connection: "close" } });
    return await response.text();
  };
  const folder = `/proc/${command.child.pid}`;
  const descriptors = (): number => readdirSync(`${folder}/fd`).length;
  const residentBytes = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`${folder}/status`, "latin1"))?.[1] ?? 0) * 1024;
  return {
    command,
    async readyConnections() {
      const ready = await ask("/ready");
      return ready === undefined ? 0 : (JSON.parse(ready) as { readyConnections: number }).readyConnections;
    },
    async bytesInStreams() {
      return Number(/^underpass_memory_held_bytes (\d+)$/m.exec((await ask("/metrics")) ?? "")?.[1]);
    },
    descriptors,
    residentBytes,
    halfClosed() {
      const own = new Set(
        readdirSync(`${folder}/fd`).flatMap((fd) => {
          try {
            return /^socket:\[(\d+)\]$/.exec(readlinkSync(`${folder}/fd/${fd}`))?.[1] ?? [];
          } catch {
            // Closed meanwhile.
            return [];
          }
        }),
      );
      const sockets = ["tcp", "tcp6"].flatMap((kind) => readFileSync(`${folder}/net/${kind}`, "latin1").split("\n"));
      return sockets
        .map((line) => line.trim().split(/\s+/))
        .filter(([, , , state, , , , , , inode = ""]) => state === CLOSE_WAIT && own.has(inode)).length;
    },
    async figures() {
      if (command.child.stdout === null) throw new Error("the connector has no stdout");
      const line = once(command.child.stdout, "data", { signal: AbortSignal.timeout(PATIENCE_MS) });
      command.child.kill("SIGUSR2");
      const { heapUsed, external } = JSON.parse(String((await line)[0])) as { heapUsed: number; external: number };
      return { heapBytes: heapUsed + external, residentBytes: residentBytes(), descriptors: descriptors() };
    },
  };
}
