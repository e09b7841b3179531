/** A process that has closed its tunnels ends by itself: no socket, timer or server of theirs is left (built package). */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";

const library = resolve(import.meta.dirname, "../../dist/index.js");

let edge: MockEdge;

beforeAll(async () => {
  edge = await startMockEdge();
});

afterAll(async () => {
  await edge.close();
});

/** Runs `body` in a process of its own; resolves with its exit status and what it had open in the end. */
async function run(body: string): Promise<{ status: number | null; output: string }> {
  const script = `
    import { connect } from ${JSON.stringify(pathToFileURL(library).href)};
    const { token, address, ca, quick } = JSON.parse(process.env.RIG);
    const options = { token, edge: [address, address], cacert: ca, origin: () => new Response("served") };
    ${body}
    await new Promise((resolve) => setTimeout(resolve, 20));
    // A module that is being loaded is read to its end.
    const ours = process.getActiveResourcesInfo().filter((name) => !/^(PipeWrap|TTYWrap|CloseReq|FSReqPromise)$/.test(name));
    process.stdout.write(JSON.stringify(ours));`;
  const rig = { token: edge.issueToken(), address: edge.edgeAddress, ca: edge.caPem, quick: edge.quickUrl };
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    env: { ...process.env, RIG: JSON.stringify(rig) },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 14_000,
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const status = await new Promise<number | null>((done) => child.once("close", done));
  return { status, output };
}

describe.skipIf(!existsSync(library))("a process", () => {
  it.each([
    ["after a close", "const tunnel = await connect(options); await tunnel.close({ grace: 0 });"],
    ["after a drain", "const tunnel = await connect({ ...options, metrics: 0 }); await tunnel.close();"],
    [
      "after an abort at the start",
      "const abort = new AbortController(); setTimeout(() => abort.abort(), 30); await connect({ ...options, signal: abort.signal }).then((tunnel) => tunnel.finished, () => {});",
    ],
    [
      "after an abort while nothing answers",
      `const abort = new AbortController(); setTimeout(() => abort.abort(), 300); await connect({ ...options, edge: ["127.0.0.1:1"], signal: abort.signal }).catch(() => {});`,
    ],
    [
      "after a quick tunnel",
      "const tunnel = await connect({ ...options, token: undefined, quickService: quick, healthCheck: false }); await tunnel.close();",
    ],
    [
      "after a tunnel whose health was probed",
      `const tunnel = await connect({ ...options, healthCheck: { url: "http://" + address + "/", interval: 20 } }); await new Promise((resolve) => setTimeout(resolve, 200)); await tunnel.close({ grace: 0 });`,
    ],
  ])("%s ends by itself", async (_name, body) => {
    expect(await run(body)).toEqual({ status: 0, output: "[]" });
  });
});
