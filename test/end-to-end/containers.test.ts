/** Serverless-ish containers: read-only file system, no HOME, no UDP, any uid, SIGTERM with ten seconds to go, frozen and thawed. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { type Command, startCommand } from "./start.ts";

let edge: MockEdge;
let origin: http.Server;
let originUrl = "";
const running: Command[] = [];

beforeAll(async () => {
  edge = await startMockEdge();
  origin = http.createServer((request, response) => {
    const delay = Number(new URL(request.url ?? "/", "http://origin").searchParams.get("delay") ?? 0);
    setTimeout(() => response.end("from the origin"), delay);
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
});

afterEach(async () => {
  for (const command of running.splice(0)) {
    command.child.kill("SIGCONT");
    command.child.kill("SIGKILL");
    await command.exit;
  }
});

afterAll(async () => {
  await edge.close();
  origin.closeAllConnections();
  origin.close();
});

async function start(
  nodeArgs: readonly string[] = [],
  spawnOptions: { uid?: number; gid?: number } = {},
): Promise<Command> {
  const env = {
    PATH: process.env.PATH ?? "",
    TUNNEL_TOKEN: edge.issueToken(),
    TUNNEL_EDGE: Array.from({ length: 4 }, () => edge.edgeAddress).join(","),
    TUNNEL_CACERT: await edge.caFile(),
  };
  const command = startCommand(["run", "--url", originUrl, "--grace-period", "8s"], {
    env,
    cwd: "/",
    nodeArgs,
    ...spawnOptions,
  });
  running.push(command);
  await command.saw("Registered tunnel connection");
  return command;
}

async function answers(): Promise<void> {
  const response = await fetch(edge.publicUrl);
  expect({ status: response.status, body: await response.text() }).toEqual({ status: 200, body: "from the origin" });
}

async function stops(command: Command): Promise<void> {
  command.child.kill("SIGTERM");
  expect(await command.exit).toBe(0);
}

describe("in a container", () => {
  it("runs without HOME", async () => {
    const command = await start();
    await answers();
    await stops(command);
  });

  it("runs where no file can be written", async () => {
    const command = await start(["--experimental-permission", "--allow-fs-read=*", "--no-warnings"]);
    await answers();
    await stops(command);
  });

  it("runs where UDP sockets can't be opened", async () => {
    const refuse = `import dgram from "node:dgram"; import { syncBuiltinESMExports } from "node:module";
      dgram.createSocket = () => { throw Object.assign(new Error("EPERM: no UDP here"), { code: "EPERM" }); }; syncBuiltinESMExports();`;
    const command = await start(["--import", `data:text/javascript,${encodeURIComponent(refuse)}`]);
    await answers();
    await stops(command);
  });

  it.skipIf(process.getuid?.() !== 0)("runs as a user that nobody knows", async () => {
    const command = await start([], { uid: 54_321, gid: 54_321 });
    await answers();
    await stops(command);
  });

  it("finishes what is in flight within ten seconds of SIGTERM", async () => {
    const command = await start();
    const slow = fetch(`${edge.publicUrl}/?delay=1500`);
    await once(origin, "request");
    command.child.kill("SIGTERM");
    const response = await slow;
    expect({ status: response.status, body: await response.text() }).toEqual({ status: 200, body: "from the origin" });
    expect(await command.exit).toBe(0);
  });

  it("serves again after it was frozen and thawed", async () => {
    const command = await start();
    await edge.registered(4);
    await answers();
    command.child.kill("SIGSTOP");
    // While it is frozen the edge gives it up, as the real one does when nothing answers its PINGs.
    edge.dropConnections();
    await edge.until(() => edge.connections.length === 0);
    command.child.kill("SIGCONT");
    await edge.registered(1);
    await answers();
    await stops(command);
  }, 30_000);
});
