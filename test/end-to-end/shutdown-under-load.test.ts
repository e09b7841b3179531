/** The command is told to stop while a hundred slow requests are under way. */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { describe, it, type TestContext } from "vitest";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { type Command, startCommand } from "./start.ts";
import { freePort } from "../ports.ts";

const REQUESTS = 100;
const SLOW_MS = 5_000;

interface Stage {
  readonly edge: MockEdge;
  readonly command: Command;
  readonly metrics: string;
  /** Requests that have reached the origin and wait for their answers. */
  readonly waiting: ServerResponse[];
  /** Resolves once so many wait. */
  waits(count: number): Promise<void>;
  fetch(path: string): Promise<Response>;
}

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function stage(
  { onTestFinished }: TestContext,
  protocol: "http2" | "quic",
  answer: (path: string, response: ServerResponse) => void,
): Promise<Stage> {
  const closers: (() => Promise<unknown>)[] = [];
  onTestFinished(async () => {
    for (const close of closers.toReversed()) await close();
  });
  const waiting: ServerResponse[] = [];
  const origin = createServer((request, response) => {
    request.resume();
    waiting.push(response);
    origin.emit("waiting");
    answer(request.url ?? "", response);
  });
  const port = await listen(origin);
  closers.push(async () => {
    origin.closeAllConnections();
    await new Promise((resolve) => origin.close(resolve));
  });
  const edge = await startMockEdge();
  closers.push(() => edge.close());
  const metrics = `127.0.0.1:${await freePort()}`;
  const edges = Array.from({ length: 4 }, () => ["--edge", edge.edgeAddress]).flat();
  const options = ["--cacert", await edge.caFile(), "--protocol", protocol, "--metrics", metrics, "--output", "json"];
  const command = startCommand(["run", ...edges, ...options, "--url", `http://127.0.0.1:${port}`], {
    env: { ...process.env, TUNNEL_TOKEN: edge.issueToken() },
  });
  closers.push(async () => {
    command.child.kill("SIGKILL");
    await command.exit;
  });
  await edge.registered(4);
  const staged: Stage = {
    edge,
    command,
    metrics,
    waiting,
    waits: async (count) => {
      while (waiting.length < count) await once(origin, "waiting");
    },
    fetch: (path) => edge.fetch(path),
  };
  return staged;
}

interface Line {
  readonly level: string;
  readonly message: string;
}

/** What the command said, once it has ended. */
function linesOf({ command }: Stage): readonly Line[] {
  return command.output.stderr
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
}

describe.concurrent.each(["http2", "quic"] as const)("over %s", (protocol) => {
  it("completes all hundred, takes no part in load balancing meanwhile, and exits 0 without a loud line", async (context) => {
    const { expect } = context;
    const staged = await stage(context, protocol, (path, response) => {
      setTimeout(() => response.end(`answer to ${path}`), SLOW_MS);
    });
    const { command, edge, metrics } = staged;
    const answers = Array.from({ length: REQUESTS }, async (_, index) => {
      const response = await staged.fetch(`/${index}`);
      return [response.status, await response.text()];
    });
    await staged.waits(REQUESTS);
    expect((await fetch(`http://${metrics}/ready`)).status).toBe(200);

    command.child.kill("SIGTERM");
    await command.saw("Initiating graceful shutdown");
    const ready = await fetch(`http://${metrics}/ready`);
    expect([ready.status, ready.headers.get("underpass-state")]).toEqual([503, "stopping"]);
    expect((await fetch(`http://${metrics}/live`)).status).toBe(200);
    await edge.until(() => edge.connections.every(({ state }) => state !== "registered"));
    // Unregistered, while answers are still awaited.
    expect(staged.waiting.some(({ writableEnded }) => !writableEnded)).toBe(true);

    const expected = Array.from({ length: REQUESTS }, (_, index) => [200, `answer to /${index}`]);
    expect(await Promise.all(answers)).toEqual(expected);
    expect(await command.exit).toBe(0);
    const said = linesOf(staged);
    expect(said.filter(({ level }) => level !== "info")).toEqual([]);
    expect(said.filter(({ message }) => message.includes("Unregistered tunnel connection"))).toHaveLength(4);
    expect(said.at(-1)?.message).toBe("Tunnel server stopped");
  }, 30_000);

  it("a second signal cuts off what is left, and exits 0 at once", async (context) => {
    const { expect } = context;
    const staged = await stage(context, protocol, () => {});
    const { command } = staged;
    const answers = Array.from({ length: 10 }, (_, index) =>
      staged.fetch(`/${index}`).then(
        ({ status }) => status,
        () => "cut off",
      ),
    );
    await staged.waits(10);
    command.child.kill("SIGTERM");
    await command.saw("Initiating graceful shutdown");
    command.child.kill("SIGINT");
    expect(await command.exit).toBe(0);
    for (const answer of await Promise.all(answers)) expect(answer).not.toBe(200);
    const said = linesOf(staged);
    expect(said.filter(({ message }) => /Retrying|Lost connection/.test(message))).toEqual([]);
    expect(said.filter(({ message }) => message === "Request cut off")).toHaveLength(10);
    expect(said.at(-1)?.message).toBe("Tunnel server stopped");
  }, 30_000);
});
