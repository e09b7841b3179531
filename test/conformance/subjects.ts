/** The connectors that rows run against: a process with cloudflared's command line, and the library in this process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbortError, connect } from "../../src/index.ts";
import type { MockEdge } from "../../src/mock-edge/index.ts";
import type { Instance, StartOptions, Subject } from "./rows/row.ts";

function commandLine(edge: MockEdge, ca: string, options: Required<StartOptions>): string[] {
  const { addresses, connections, graceMs, maxActiveFlows, protocol, rpcTimeoutMs, url } = options;
  return [
    "tunnel",
    ...Array.from({ length: addresses }, () => ["--edge", edge.edgeAddress]).flat(),
    `--cacert=${ca}`,
    `--protocol=${protocol}`,
    "--no-autoupdate",
    "--no-prechecks",
    "--metrics=127.0.0.1:0",
    `--grace-period=${graceMs}ms`,
    `--rpc-timeout=${rpcTimeoutMs}ms`,
    `--ha-connections=${connections}`,
    "--loglevel=info",
    `--url=${url}`,
    "run",
    ...(maxActiveFlows === undefined ? [] : [`--max-active-flows=${maxActiveFlows}`]),
  ];
}

/** Reads stderr until a metrics address was announced. */
async function metricsAddress(child: ChildProcess, log: { text: string }): Promise<string> {
  for (;;) {
    const found = /metrics server on (127\.0\.0\.1:\d+)/.exec(log.text)?.[1];
    if (found !== undefined) return found;
    if (child.exitCode !== null || child.stderr === null)
      throw new Error(`no metrics server was announced:\n${log.text}`);
    await once(child.stderr, "data");
  }
}

/** A process that takes cloudflared's command line. */
export function processSubject(name: string, command: string, args: readonly string[] = []): Subject {
  return {
    name,
    start(edge, token, options): Instance {
      const home = mkdtempSync(join(tmpdir(), "underpass-conformance-"));
      const ca = join(home, "ca.pem");
      writeFileSync(ca, edge.caPem);
      const child = spawn(command, [...args, ...commandLine(edge, ca, options)], {
        env: { PATH: process.env.PATH ?? "", HOME: home, TUNNEL_TOKEN: token, ...options.environment },
        stdio: ["ignore", "ignore", "pipe"],
      });
      const log = { text: "" };
      child.stderr?.on("data", (chunk: Buffer) => {
        log.text += chunk.toString();
      });
      const exit = once(child, "exit").then(([code]) => (typeof code === "number" ? code : -1));
      return {
        exit,
        stop: () => void child.kill("SIGTERM"),
        async ready() {
          const response = await fetch(`http://${await metricsAddress(child, log)}/ready`);
          return { status: response.status, body: await response.text() };
        },
        async kill() {
          child.kill("SIGKILL");
          await exit;
          rmSync(home, { recursive: true, force: true });
        },
      };
    },
  };
}

/** The library, in this process. Its exit status is what the command's would be. */
export const librarySubject: Subject = {
  name: "underpass",
  start(edge, token, options): Instance {
    const { addresses, connections, environment, graceMs, maxActiveFlows, protocol, rpcTimeoutMs, url } = options;
    Object.assign(process.env, environment);
    const abort = new AbortController();
    const starting = connect({
      token,
      origin: url,
      edge: Array.from({ length: addresses }, () => edge.edgeAddress),
      cacert: edge.caPem,
      protocol,
      haConnections: connections,
      gracePeriod: graceMs,
      rpcTimeout: rpcTimeoutMs,
      metrics: "127.0.0.1:0",
      ...(maxActiveFlows === undefined ? {} : { maxActiveFlows }),
      signal: abort.signal,
    });
    const exit = starting
      .then((tunnel) => tunnel.finished)
      .then(
        () => 0,
        (error: unknown) => (error instanceof AbortError ? 0 : 1),
      );
    return {
      exit,
      stop: () => abort.abort(),
      async ready() {
        const { metricsUrl } = await starting;
        const response = await fetch(new URL("/ready", metricsUrl));
        return { status: response.status, body: await response.text() };
      },
      async kill() {
        abort.abort();
        await starting.then((tunnel) => tunnel.close({ grace: 0 })).catch(() => {});
        await exit;
        for (const name of Object.keys(environment)) Reflect.deleteProperty(process.env, name);
      },
    };
  },
};
