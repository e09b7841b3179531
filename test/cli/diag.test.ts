import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { diag } from "../../src/cli/diag.ts";
import { takeDiagFlags } from "../../src/cli/diag-flags.ts";
import { main } from "../../src/cli/dispatch.ts";
import { readCommandLine } from "../../src/cli/flags.ts";
import { type HttpGet, NoAnswerError } from "../../src/health/diagnostics/http-get.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { Scrubber } from "../../src/proxy/ingress/redact.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { peers } from "../health/diagnostics/checks/fake-peers.ts";
import { unpack } from "../health/diagnostics/unpack.ts";
import { cli, FakeIo } from "./fake-io.ts";

let directory: string;
let edge: MockEdge | undefined;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-diag-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
afterEach(async () => {
  await edge?.close();
  edge = undefined;
});

const state = (last: string): string =>
  `{"tunnelID":"11111111-2222-4333-8444-55555555555${last}","connectorID":"99999999-8888-4777-8666-55555555555${last}"}`;

/** A machine on which such metrics servers answer, and nothing else does. */
function machine(answers: Readonly<Record<string, string>>): HttpGet {
  return (url) => {
    const body = answers[url];
    return body === undefined ? Promise.reject(new Error("refused")) : Promise.resolve({ status: 200, body });
  };
}

async function collect(
  args: readonly string[],
  get: HttpGet,
  file: string,
): Promise<{ status: number; io: FakeIo; files: Map<string, string>; ran: string[] }> {
  const io = new FakeIo();
  const scrubber = new Scrubber();
  const flags = takeDiagFlags(args);
  const ran: string[] = [];
  const path = join(directory, file);
  const status = await diag({
    line: readCommandLine(flags.rest, scrubber),
    style: "native",
    io,
    scrubber,
    flags,
    file: path,
    peers: peers(),
    get,
    run: (program, given) => {
      ran.push([program, ...given].join(" "));
      return Promise.resolve("its log\n");
    },
  });
  return { status, io, ran, files: status === 0 ? unpack(readFileSync(path)) : new Map() };
}

describe("underpass diag", () => {
  it("writes everything about a running tunnel, and no secret of its", async () => {
    edge = await startMockEdge({ acceptAnyToken: true });
    const made = makeCredentials();
    const password = randomBytes(9).toString("hex");
    const header = randomBytes(9).toString("hex");
    const logfile = join(directory, "run.log");
    const config = join(directory, "config.yml");
    writeFileSync(
      config,
      [
        `tunnel: ${made.tunnelId}`,
        "ingress:",
        `  - hostname: a.example.com`,
        `    service: http://user:${password}@127.0.0.1:1`,
        "    originRequest:",
        `      requestHeaders: { set: { Authorization: "Bearer ${header}" } }`,
        "  - service: http_status:404",
      ].join("\n"),
    );
    const env = { TUNNEL_TOKEN: made.token, HTTPS_PROXY: `http://user:${password}@127.0.0.1:1`, NO_PROXY: "*" };
    const runner = new FakeIo(env);
    const edges = ["--edge", edge.edgeAddress, "--cacert", await edge.caFile()];
    const logs = ["--loglevel", "debug", "--logfile", logfile, "--metrics", "127.0.0.1:0", "--output", "default"];
    const running = main(["--config", config, "run", ...edges, ...logs], runner);
    await edge.registered(1);
    await edge.fetch(`/?token=${encodeURIComponent(made.token)}&password=${password}`);
    while (!/ Registered tunnel connection/.test(runner.stderr.text)) await once(runner.stderr, "said");
    const metrics = /Starting metrics server on (\S+)\/metrics/.exec(runner.stderr.text)?.[1] ?? "";
    // What another program, or an older version, may have written.
    appendFileSync(
      logfile,
      `{"message":"token is ${made.token}","secret":"${made.secret}"}\nAuthorization: Basic ${header}\n`,
    );

    const path = join(directory, "tunnel.zip");
    const io = new FakeIo({ HTTPS_PROXY: env.HTTPS_PROXY, NO_PROXY: "*" });
    const status = await main(
      ["diag", "--metrics", metrics, "--api-url", edge.quickUrl, "--quick-service", edge.quickUrl, path],
      io,
    );
    runner.signal("SIGTERM");
    runner.signal("SIGINT");
    expect(await running).toBe(0);

    expect([status, io.stdout.text]).toEqual([0, `${path}\n`]);
    expect(io.stderr.text).toContain(`Found tunnel ${made.tunnelId} at http://${metrics}.`);
    expect(statSync(path).mode & 0o777).toBe(process.platform === "win32" ? 0o666 : 0o600);
    const zip = readFileSync(path);
    const files = unpack(zip);
    expect([...files.keys()].sort()).toEqual([
      "cli-configuration.json",
      "cloudflared_logs.txt",
      "configuration.json",
      "metrics.txt",
      "network.json",
      "prechecks.json",
      "process.json",
      "systeminformation.json",
      "task-result.json",
      "tunnelstate.json",
    ]);
    const json = (name: string): unknown => JSON.parse(files.get(name) ?? "");
    expect(json("tunnelstate.json")).toMatchObject({ tunnelID: made.tunnelId, connections: [{ isConnected: true }] });
    expect(json("cli-configuration.json")).toMatchObject({ edge: edge.edgeAddress, logfile, metrics: "127.0.0.1:0" });
    expect(json("configuration.json")).toMatchObject({
      config: { ingress: [{ hostname: "a.example.com", service: "http://127.0.0.1:1" }, {}] },
    });
    expect(json("process.json")).toMatchObject({ pid: process.pid });
    expect(json("systeminformation.json")).toMatchObject({ info: { osSystem: expect.any(String) } });
    // The edge that the tunnel was told of, though this command line does not name it.
    expect(json("prechecks.json")).toMatchObject({
      SuggestedProtocol: 1,
      Results: [
        { Type: 1, Target: expect.stringContaining("edge1"), ProbeStatus: 0 },
        { Type: 2, ProbeStatus: 0 },
        { Type: 3, ProbeStatus: 0 },
      ],
      underpass: { ok: true },
    });
    expect(json("network.json")).toMatchObject({ proxies: ["HTTPS_PROXY", "NO_PROXY"] });
    expect(Object.values(json("task-result.json") as object)).toEqual(
      Array.from({ length: 9 }, () => ({ result: "success" })),
    );
    expect(files.get("metrics.txt")).toContain("cloudflared_tunnel_ha_connections");
    expect(files.get("cloudflared_logs.txt")).toContain("Registered tunnel connection");
    expect(files.get("cloudflared_logs.txt")).toContain("[redacted]");

    const secret = Buffer.from(made.secret, "base64");
    const forms = [made.token, made.secret, secret.toString("hex"), secret.toString("base64url"), password, header];
    for (const text of [...files.values(), zip.toString("latin1"), io.stderr.text]) {
      for (const form of [...forms, made.token.slice(0, 40), made.token.slice(-40)]) expect(text).not.toContain(form);
    }
  });

  it("lists several tunnels, and asks which one", async () => {
    const get = machine({
      "http://127.0.0.1:20241/diag/tunnel": state("1"),
      "http://127.0.0.1:20243/diag/tunnel": state("3"),
    });
    const { io, status } = await collect([], get, "several.zip");
    expect(status).toBe(1);
    expect(io.stderr.text).toBe(
      "underpass: several tunnels run on this machine; choose one:\n" +
        "  --metrics 127.0.0.1:20241   tunnel 11111111-2222-4333-8444-555555555551\n" +
        "  --metrics 127.0.0.1:20243   tunnel 11111111-2222-4333-8444-555555555553\n",
    );
  });

  it("without a running tunnel has the machine and the network", async () => {
    const { files, io, status } = await collect([], machine({}), "none.zip");
    expect(status).toBe(0);
    expect(io.stderr.text).toContain("No running tunnel was found");
    expect(io.stderr.text).toContain("metrics: not collected (no tunnel answers on 127.0.0.1, ports 20241 to 20245)");
    expect([...files.keys()]).toEqual(["systeminformation.json", "network.json", "prechecks.json", "task-result.json"]);
    expect(JSON.parse(files.get("task-result.json") ?? "")).toMatchObject({
      "tunnel state": { result: "failure", error: expect.stringContaining("no tunnel answers on") },
      "system information": { result: "success" },
      "log information": { result: "failure", error: expect.stringContaining("--logfile") },
    });
  });

  it("of cloudflared takes what it serves", async () => {
    const base = "http://127.0.0.1:20241";
    const get = machine({
      [`${base}/diag/tunnel`]: state("1"),
      [`${base}/diag/configuration`]: '{"edge":"[192.0.2.1:7 192.0.2.1:7]","protocol":"http2","uid":"0"}',
      [`${base}/config`]: "{}",
      [`${base}/metrics`]: "up 1\n",
    });
    const { files, ran } = await collect(["--diag-container-id", "cf"], get, "other.zip");
    expect(ran).toEqual(["docker logs --since=336h --tail=10000 -- cf"]);
    expect([...files.keys()].sort()).toEqual([
      "cli-configuration.json",
      "cloudflared_logs.txt",
      "configuration.json",
      "metrics.txt",
      "network.json",
      "prechecks.json",
      "task-result.json",
      "tunnelstate.json",
    ]);
    // Lists as Go prints them.
    expect(JSON.parse(files.get("prechecks.json") ?? "")).toMatchObject({
      SuggestedProtocol: 0,
      Results: [{ Type: 2, Target: "edge1 IPv4, port 7" }, { Type: 3 }],
    });
  });

  it("leaves out what it is told to", async () => {
    const parts = ["logs", "metrics", "system", "runtime", "network"].map((part) => `--no-diag-${part}`);
    const { files } = await collect(parts, machine({}), "little.zip");
    expect([...files.keys()]).toEqual(["task-result.json"]);
    expect(Object.keys(JSON.parse(files.get("task-result.json") ?? "") as object)).toEqual([
      "tunnel state",
      "cli configuration",
      "configuration",
    ]);
  });

  it("never takes the place of another file", async () => {
    writeFileSync(join(directory, "mine.zip"), "mine");
    const asked: string[] = [];
    const get: HttpGet = (url) => {
      asked.push(url);
      return Promise.reject(new Error("refused"));
    };
    const refusal = (reason: string) => ({ code: "ERR_UNDERPASS_DIAG_FILE", message: expect.stringContaining(reason) });
    await expect(collect([], get, "mine.zip")).rejects.toMatchObject(refusal("something of that name"));
    await expect(collect([], get, ".")).rejects.toMatchObject(refusal("something of that name"));
    await expect(collect([], get, "nowhere/mine.zip")).rejects.toMatchObject(refusal("ENOENT"));
    await expect(collect([], get, "mine.zip/mine.zip")).rejects.toMatchObject(refusal("no directory"));
    expect(readFileSync(join(directory, "mine.zip"), "utf8")).toBe("mine");
    // It is told before anything is collected.
    expect(asked).toEqual([]);
  });

  it("tells what became of the one that was named", async () => {
    const get: HttpGet = () => Promise.reject(new NoAnswerError("no answer within 3 s"));
    const parts = ["logs", "metrics", "system", "runtime", "network"].map((part) => `--no-diag-${part}`);
    const { files, io, status } = await collect([...parts, "--metrics", "127.0.0.1:2000"], get, "hung.zip");
    expect(status).toBe(0);
    expect(files.get("task-result.json")).toContain("no tunnel answers on http://127.0.0.1:2000: no answer within 3 s");
    expect(io.stderr.text).toContain("No running tunnel was found on http://127.0.0.1:2000: no answer within 3 s (");
    const anywhere = await collect(parts, get, "hung-anywhere.zip");
    expect(anywhere.io.stderr.text).toContain("http://127.0.0.1:20241, ");
    expect(anywhere.io.stderr.text).toContain("can be connected to, but does not answer");
  });

  it("refuses what it does not know", async () => {
    for (const [args, words] of [
      [["diag", "a", "b"], "one argument at most: the file to write\nSee 'underpass diag --help'.\n"],
      [["healthcheck", "now"], "takes no argument\nSee 'underpass healthcheck --help'.\n"],
      [["diag", "--diag-container-id"], "--diag-container-id: found nothing"],
      [["diag", "--diag-pod-id", "-v"], "the name or id"],
      [["diag", "--no-diag-logs=x"], "true or false"],
      [["run", "--no-diag-logs"], "unknown flag"],
      [
        ["diag", "--output", "mine.zip"],
        '--output: found "mine.zip"; "default" or "json", the format of a log, would be right; the file to write is an argument: underpass diag FILE.zip\n',
      ],
      [["tunnel", "diag", "--output=/tmp"], "is an argument: underpass tunnel diag FILE.zip\n"],
    ] as const) {
      const { io, status } = await cli(args);
      expect([status, io.stderr.text]).toEqual([1, expect.stringContaining(words)]);
    }
  });

  it("is cloudflared's tunnel diag, too", () => {
    const flags = takeDiagFlags([
      "tunnel",
      "--metrics",
      "x:1",
      "diag",
      "--no-diag-logs",
      "--no-diag-network=false",
      "--diag-pod-id=p",
    ]);
    expect(flags).toMatchObject({ rest: ["tunnel", "--metrics", "x:1", "diag"], podId: "p", problems: [] });
    expect([...flags.without]).toEqual(["logs"]);
  });
});
