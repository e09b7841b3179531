/** The built command as its own process: signals, closed and stuck pipes, the end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { type Command, cliPath, startCommand } from "../end-to-end/start.ts";

let edge: MockEdge;
let origin: Server;
let originUrl: string;
const running: Command[] = [];

beforeAll(async () => {
  edge = await startMockEdge();
  origin = createServer((request, response) => {
    if (request.url === "/never") return;
    response.end("from the origin");
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  const address = origin.address();
  originUrl = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
});

afterEach(async () => {
  for (const { child, exit } of running.splice(0)) {
    child.kill("SIGKILL");
    await exit;
  }
});

afterAll(async () => {
  await edge.close();
  origin.closeAllConnections();
  origin.close();
});

async function start(...args: string[]): Promise<Command> {
  const env = { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", TUNNEL_TOKEN: edge.issueToken() };
  const edges = ["--edge", edge.edgeAddress, "--edge", edge.edgeAddress, "--cacert", await edge.caFile()];
  const command = startCommand([...args, ...edges], { env });
  running.push(command);
  return command;
}

async function registered(): Promise<void> {
  await edge.registered(2);
}

async function gone(): Promise<void> {
  await edge.until(() => edge.connections.length === 0);
}

describe("signals", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("%s drains and exits 0", async (signal) => {
    const command = await start("run", "--url", originUrl);
    await registered();
    expect(await (await edge.fetch("/")).text()).toBe("from the origin");
    command.child.kill(signal);
    expect(await command.exit).toBe(0);
    expect(command.output.stderr).toContain("Initiating graceful shutdown due to signal");
    expect(command.output.stdout).toBe("");
    await gone();
  });

  it("a second one does not wait for a request that never ends", async () => {
    const command = await start("run", "--url", originUrl, "--grace-period", "3m");
    await registered();
    const arrived = once(origin, "request");
    const asked = edge.fetch("/never").catch(() => "cut off");
    await arrived;
    command.child.kill("SIGTERM");
    await command.saw("Initiating graceful shutdown");
    command.child.kill("SIGINT");
    expect(await command.exit).toBe(0);
    await asked;
    await gone();
  });
});

describe("the configuration file", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "underpass-process-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const rules = (status: number): string =>
    `ingress:\n  - hostname: app.example.com\n    service: ${originUrl}\n  - service: http_status:${status}\n`;

  /** What visitors of two hostnames get. */
  async function served(): Promise<unknown[]> {
    const app = await edge.fetch("https://app.example.com/");
    const other = await edge.fetch("https://other.example.com/");
    return [await app.text(), other.status];
  }

  it("is read again when it changes and on SIGHUP, whatever stands in it; Cloudflare's rules count before it", async () => {
    const path = join(directory, "config.yml");
    writeFileSync(path, rules(404));
    const command = await start("tunnel", "--config", path, "run");
    await registered();
    await command.saw("Registered tunnel connection");
    expect(await served()).toEqual(["from the origin", 404]);

    writeFileSync(path, rules(410));
    await command.saw("Configuration reloaded: changed *");
    expect(await served()).toEqual(["from the origin", 410]);

    writeFileSync(path, "ingress:\n  - hostname: a.example.com\n    service: nowhere\n");
    command.child.kill("SIGHUP");
    await command.saw("can't be used, so the configuration before goes on");
    expect(command.output.stderr).toContain(`${path}:3:5: ingress[0].service: rule 1 (a.example.com): found`);
    expect(await served()).toEqual(["from the origin", 410]);

    writeFileSync(path, rules(410).replace("app", "new.example.com\n    service: http_status:204\n  - hostname: app"));
    command.child.kill("SIGHUP");
    await command.saw("Configuration reloaded: added new.example.com");
    expect((await edge.fetch("https://new.example.com/")).status).toBe(204);

    await edge.pushConfiguration(1, { ingress: [{ service: "http_status:451" }] });
    expect(await served()).toEqual(["", 451]);
    writeFileSync(path, rules(404));
    await command.saw("have changed, but are not used: the rules come from Cloudflare");
    expect(await served()).toEqual(["", 451]);
    command.child.kill("SIGTERM");
    expect(await command.exit).toBe(0);
    await gone();
  });

  it("is none: SIGHUP drains and exits 0", async () => {
    const command = await start("run", "--url", originUrl);
    await registered();
    expect(await (await edge.fetch("/")).text()).toBe("from the origin");
    command.child.kill("SIGHUP");
    expect(await command.exit).toBe(0);
    expect(command.output.stderr).toContain("Initiating graceful shutdown due to signal hangup");
    await gone();
  });
});

describe("stderr", () => {
  it("closed by its reader does not end the tunnel", async () => {
    const command = await start("run", "--url", originUrl, "--loglevel", "debug");
    command.child.stderr?.destroy();
    await registered();
    for (let count = 0; count < 20; count++) {
      expect(await (await edge.fetch("/")).text()).toBe("from the origin");
    }
    command.child.kill("SIGTERM");
    expect(await command.exit).toBe(0);
    await gone();
  });

  it("that nobody reads does not stop the tunnel, nor its end", async () => {
    const command = await start("run", "--url", originUrl, "--loglevel", "debug");
    await command.saw("Starting tunnel");
    command.child.stderr?.pause();
    await registered();
    // Some 2 MB of log, more than the pipe and the backlog take together.
    const path = `/${"x".repeat(3900)}`;
    for (let count = 0; count < 500; count++) await (await edge.fetch(path)).arrayBuffer();
    expect(await (await edge.fetch("/")).text()).toBe("from the origin");
    command.child.kill("SIGTERM");
    expect(await command.exit).toBe(0);
    await gone();
  });
});

describe("stdout", () => {
  it("has a quick tunnel's address alone; closed, it does not end the tunnel", async () => {
    const command = await start("--url", originUrl, "--quick-service", edge.quickUrl);
    await edge.registered(1);
    await command.saw("https://");
    command.child.kill("SIGTERM");
    expect(await command.exit).toBe(0);
    expect(command.output.stdout).toMatch(/^https:\/\/\S+\n$/);
    await gone();

    const closed = await start("--url", originUrl, "--quick-service", edge.quickUrl);
    closed.child.stdout?.destroy();
    await edge.registered(1);
    closed.child.kill("SIGTERM");
    expect(await closed.exit).toBe(0);
    await gone();
  });

  it("closed while help is printed is no stack trace", async () => {
    const child = spawn(process.execPath, [cliPath, "run", "--help"], { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.destroy();
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(stderr).toBe("");
  });

  it.skipIf(!existsSync("/dev/full")).each(["version", "help", "tail --help", "config check"])(
    "on a full disk fails %s, and says so",
    async (command) => {
      const full = openSync("/dev/full", "w");
      const args = [...command.split(" "), ...(command === "config check" ? ["--url", originUrl] : [])];
      const child = spawn(process.execPath, [cliPath, ...args], {
        stdio: ["ignore", full, "pipe"],
        env: { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent" },
      });
      closeSync(full);
      let stderr = "";
      child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
      expect(await once(child, "close")).toEqual([1, null]);
      expect(stderr).toContain("underpass: stdout can't be written, so something of it is missing: ENOSPC");
    },
  );
});

describe("quick tunnels", () => {
  it.each([
    [{ kind: "rate-limit", retryAfterSeconds: 77 } as const, /limits how many quick tunnels.*429.*try again in 77 s/],
    [{ kind: "error-1015" } as const, /error 1015/],
    [{ kind: "not-json" } as const, /did not answer with JSON/],
    [{ kind: "refuse" } as const, /success is not true/],
  ])("end with status 1 and the reason: %j", async (fault, message) => {
    edge.failQuick(fault);
    const command = await start("--url", originUrl, "--quick-service", edge.quickUrl);
    expect(await command.exit).toBe(1);
    expect(command.output.stderr).toMatch(message);
    expect(command.output.stdout).toBe("");
  });

  it("whose first registration is refused get another URL, announced like the first", async () => {
    edge.fail({ kind: "refuse", cause: "Tunnel is deleted" });
    const command = await start("--url", originUrl, "--quick-service", edge.quickUrl);
    await edge.registered(1);
    command.child.kill("SIGTERM");
    expect(await command.exit).toBe(0);
    const urls = command.output.stdout.trimEnd().split("\n");
    expect(new Set(urls).size).toBe(2);
    for (const url of urls) expect(command.output.stderr).toContain(url);
    await gone();
  });

  it("end with status 1 and the edge's words when the second URL is refused as well", async () => {
    edge.fail({ kind: "refuse", cause: "Tunnel is deleted" }, { times: 2 });
    const command = await start("--url", originUrl, "--quick-service", edge.quickUrl);
    expect(await command.exit).toBe(1);
    expect(command.output.stdout.trimEnd().split("\n")).toHaveLength(2);
    expect(command.output.stderr).toContain("Tunnel is deleted");
  });
});
