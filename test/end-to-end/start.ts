/** A mock edge and a tunnel of the library in front of a listener, and the command as its own process. */
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";

export interface Rig {
  readonly edge: MockEdge;
  readonly tunnel: Tunnel;
  stop(): Promise<void>;
}

/** One tunnel against a fresh mock edge; four connections unless said otherwise. */
export async function startRig(options: Omit<ConnectOptions, "token" | "edge" | "cacert">): Promise<Rig> {
  const edge = await startMockEdge();
  const tunnel = await connect({
    token: edge.issueToken(),
    edge: Array.from({ length: options.haConnections ?? 4 }, () => edge.edgeAddress),
    cacert: edge.caPem,
    ...options,
  });
  return {
    edge,
    tunnel,
    async stop() {
      await tunnel.close({ grace: 0 });
      await edge.close();
    },
  };
}

const root = resolve(import.meta.dirname, "../..");
export const cliPath = join(root, "dist/cli/main.js");

export interface Command {
  readonly child: ChildProcess;
  /** All of stdout and stderr so far. */
  readonly output: { stdout: string; stderr: string };
  /** Resolves when stderr or stdout has the text; rejects when the process ends without it. */
  saw(text: string): Promise<void>;
  /** Resolves with the exit status, or the signal's name. */
  readonly exit: Promise<number | string>;
}

/** Starts the built command, on this Node.js or on `node`. `nodeArgs` go before the script. */
export function startCommand(
  args: readonly string[],
  options: SpawnOptions & { node?: string; nodeArgs?: readonly string[] } = {},
): Command {
  if (!existsSync(cliPath)) throw new Error("dist/ is missing: run `npm run build` first, or `npm test`");
  const child = spawn(options.node ?? process.execPath, [...(options.nodeArgs ?? []), cliPath, ...args], {
    ...options,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => {
    output.stdout += chunk.toString();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    output.stderr += chunk.toString();
  });
  const exit = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | string);
  return {
    child,
    output,
    exit,
    saw: (text) =>
      new Promise((done, fail) => {
        const look = (): void => {
          if (!(output.stderr + output.stdout).includes(text)) return;
          child.stderr?.off("data", look);
          child.stdout?.off("data", look);
          done();
        };
        child.stderr?.on("data", look);
        child.stdout?.on("data", look);
        void exit.then((status) => {
          look();
          fail(new Error(`ended with ${status} before "${text}":\n${output.stderr}`));
        });
        look();
      }),
  };
}
