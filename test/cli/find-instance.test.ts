/** `ready` and `healthcheck` find a running command by themselves. */
import { afterEach, expect, it } from "vitest";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { startCommand } from "../end-to-end/start.ts";
import { cli } from "./fake-io.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function run(extra: readonly string[] = []): Promise<ReturnType<typeof startCommand>> {
  const edge = await startMockEdge();
  closers.push(() => edge.close());
  const edges = ["--edge", edge.edgeAddress, "--cacert", await edge.caFile(), "--ha-connections", "1"];
  const command = startCommand(["run", ...edges, "--url", "http://127.0.0.1:1", "--grace-period", "0s", ...extra], {
    env: { ...process.env, TUNNEL_TOKEN: edge.issueToken() },
  });
  closers.push(async () => {
    command.child.kill("SIGKILL");
    await command.exit;
  });
  await command.saw("Registered tunnel connection");
  return command;
}

interface Told {
  readonly instances: readonly { readonly connectorId: string; readonly health: string; readonly url: string }[];
}

it("at the default port, without a word about where", async () => {
  const command = await run();
  await command.saw("Starting metrics server on");
  const port = Number(/Starting metrics server on [^ ]*:(\d+)\/metrics/.exec(command.output.stderr)?.[1]);
  expect(port).toBeGreaterThan(0);
  const connectorId = /Generated Connector ID: ([\da-f-]+)/.exec(command.output.stderr)?.[1];
  // Others may run on this machine, on all of the usual ports even.
  const isUsual = port >= 20_241 && port <= 20_245;
  const { io } = await cli(["healthcheck", "--json", ...(isUsual ? [] : ["--metrics", `127.0.0.1:${port}`])]);
  const { instances } = JSON.parse(io.stdout.text) as Told;
  const found = instances.find((instance) => instance.connectorId === connectorId);
  expect(found).toMatchObject({ health: "ready", url: expect.stringContaining(`:${port}`) });
  if (instances.length > 1) return;
  const ready = await cli(["ready", ...(isUsual ? [] : ["--metrics", `127.0.0.1:${port}`])]);
  expect([ready.status, ready.io.stderr.text]).toEqual([0, ""]);
}, 30_000);

it("several: ready asks which, healthcheck tells of each", async () => {
  const first = await run();
  const second = await run();
  await Promise.all([first.saw("Starting metrics server on"), second.saw("Starting metrics server on")]);
  const { io } = await cli(["healthcheck", "--json"]);
  const { instances } = JSON.parse(io.stdout.text) as Told;
  expect(instances.length).toBeGreaterThan(1);
  const ready = await cli(["ready"]);
  expect([ready.status, ready.io.stderr.text]).toEqual([
    1,
    expect.stringMatching(/^underpass: several tunnels run on this machine; choose one:\n(?: +--metrics .*\n){2,}$/),
  ]);
}, 30_000);

it("none, where it is switched off", async () => {
  const command = await run(["--metrics", "off"]);
  command.child.kill("SIGTERM");
  expect(await command.exit).toBe(0);
  expect(command.output.stderr).not.toContain("metrics server");
}, 30_000);
