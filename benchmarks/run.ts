/**
 * `npm run bench [-- --seconds 3 --rounds 3 --only saturated,upload --protocol quic]`: load on loopback through Underpass and, when
 * CLOUDFLARED_BIN names a binary, through cloudflared with the same command line, in alternation. Prints medians and ratios.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { benchmarkCapnp } from "./capnp.ts";
import { benchmarkIngress } from "./ingress.ts";
import { barePackets } from "./packets.ts";
import { type Command, type Measurement, SCENARIO_NAMES, type ScenarioName } from "./messages.ts";

const here = dirname(fileURLToPath(import.meta.url));
const cli = join(here, "../../..", "dist/cli/main.js");
const HOLDS_STREAMS: ScenarioName = "5000 SSE";

interface Subject {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string" },
    rounds: { type: "string" },
    only: { type: "string" },
    protocol: { type: "string" },
  },
});
const seconds = Number(options.seconds ?? 3);
const rounds = Number(options.rounds ?? 3);
const only = options.only?.split(",");
const protocol = options.protocol === "quic" ? "quic" : "http2";

function message<T>(child: ChildProcess, kind: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const listen = (received: { kind?: string; message?: string }): void => {
      if (received.kind === "failed") reject(new Error(received.message));
      else if (received.kind === undefined || received.kind === kind) resolve(received as T);
      else return;
      child.off("message", listen);
    };
    child.on("message", listen);
  });
}

function ask<T>(driver: ChildProcess, command: Command, answer: string): Promise<T> {
  const reply = message<T>(driver, answer);
  driver.send(command);
  return reply;
}

const origin = fork(join(here, "origin.js"));
const driver = fork(join(here, "driver.js"));
const [{ port: originPort }, { ports, cacert }] = await Promise.all([
  message<{ port: number }>(origin, "listening"),
  message<{ ports: Record<"http2" | "quic", number>; cacert: string }>(driver, "listening"),
]);

const scratch = mkdtempSync(join(tmpdir(), "underpass-bench-"));
const caFile = join(scratch, "ca.pem");
writeFileSync(caFile, cacert);
const token = Buffer.from(
  JSON.stringify({
    a: "0123456789abcdef0123456789abcdef",
    s: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64"),
    t: crypto.randomUUID(),
  }),
).toString("base64");

function commandLine(connections: number): string[] {
  const edge = Array.from({ length: connections }, () => ["--edge", `127.0.0.1:${ports[protocol]}`]).flat();
  const flags = [
    "--cacert",
    caFile,
    "--protocol",
    protocol,
    "--ha-connections",
    String(connections),
    "--metrics",
    "127.0.0.1:0",
    "--loglevel",
    "warn",
    "--grace-period",
    "1s",
  ];
  const run = ["run", "--token", token, "--url", `http://127.0.0.1:${originPort}`];
  return ["tunnel", "--no-autoupdate", "--no-prechecks", ...edge, ...flags, ...run];
}

const subjects: Subject[] = [{ name: "underpass", command: process.execPath, args: [cli] }];
const reference = process.env.CLOUDFLARED_BIN;
if (reference !== undefined) subjects.push({ name: "cloudflared", command: reference, args: [] });
else console.log("CLOUDFLARED_BIN is not set: no reference in this run.");

interface Running {
  readonly pid: number;
  readonly firstMs: number;
  readonly allMs: number;
  stop(): Promise<void>;
}

async function start(subject: Subject, connections = 4): Promise<Running> {
  await ask(driver, { kind: "forget" }, "forgotten");
  const started = Date.now();
  const child = spawn(subject.command, [...subject.args, ...commandLine(connections)], {
    stdio: ["ignore", "ignore", process.env.BENCH_LOG === undefined ? "ignore" : "inherit"],
    env: { ...process.env, HOME: scratch },
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const { at } = await ask<{ at: number[] }>(driver, { kind: "wait", connections }, "registered");
  if (child.pid === undefined || at.length < connections) {
    child.kill("SIGKILL");
    throw new Error(`${subject.name} registered ${at.length} of ${connections} connections`);
  }
  return {
    pid: child.pid,
    firstMs: (at[0] ?? 0) - started,
    allMs: (at.at(-1) ?? 0) - started,
    async stop() {
      child.kill("SIGTERM");
      const kill = setTimeout(() => child.kill("SIGKILL"), 4000);
      await exited;
      clearTimeout(kill);
    },
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "-";
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function table(title: string, rows: Map<string, Measurement[]>): void {
  const units = [...new Set([...rows.values()].flat().flatMap((row) => Object.keys(row)))];
  console.log(`\n### ${title}\n\n| | ${units.join(" | ")} |\n|---|${units.map(() => "---|").join("")}`);
  const medians = new Map<string, (number | undefined)[]>();
  for (const [name, runs] of rows) {
    const cells = units.map((unit) => {
      const values = runs.flatMap((run) => (run[unit] === undefined ? [] : [run[unit]]));
      return values.length === 0 ? undefined : median(values);
    });
    medians.set(name, cells);
    console.log(`| ${name} | ${cells.map(figure).join(" | ")} |`);
  }
  const ours = medians.get("underpass");
  const theirs = medians.get("cloudflared");
  if (ours === undefined || theirs === undefined) return;
  const ratios = ours.map((value, i) => {
    const other = theirs[i];
    return value === undefined || other === undefined || other === 0 ? "-" : (value / other).toFixed(2);
  });
  console.log(`| ratio | ${ratios.join(" | ")} |`);
}

async function startUp(): Promise<void> {
  const rows = new Map<string, Measurement[]>(subjects.map((subject) => [subject.name, []]));
  for (let round = 0; round < Math.max(rounds, 5); round++) {
    for (const subject of subjects) {
      const running = await start(subject);
      await running.stop();
      rows.get(subject.name)?.push({ "first ms": running.firstMs, "four ms": running.allMs });
    }
  }
  table("Start to registration", rows);
}

/** What one connection more holds, when nothing happens on it. */
async function idle(): Promise<void> {
  const rows = new Map<string, Measurement[]>(subjects.map((subject) => [subject.name, []]));
  const FEW = 4;
  const MANY = 32;
  for (const subject of subjects) {
    const resident: number[] = [];
    for (const connections of [FEW, MANY]) {
      const running = await start(subject, connections);
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      resident.push(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${running.pid}/status`, "latin1"))?.[1] ?? 0));
      await running.stop();
    }
    const [few = 0, many = 0] = resident;
    rows
      .get(subject.name)
      ?.push({ "KB/connection": ((many - few) * 1.024) / (MANY - FEW), "RSS MB with 4": few / 1024 });
  }
  table("Idle connections", rows);
}

/** Of the same mixture of packets, sent and received. */
async function compareWithBare(measurements: readonly Measurement[]): Promise<void> {
  const bare = await barePackets();
  const ratios = measurements.flatMap((row) => {
    const { "us/packet": ours, "% sent": sent } = row;
    if (ours === undefined || sent === undefined) return [];
    return [ours / ((bare.send * sent + bare.receive * (100 - sent)) / 100)];
  });
  if (ratios.length === 0) return;
  console.log(
    `A bare loop: ${figure(bare.send)} us a packet sent, ${figure(bare.receive)} received; underpass ${median(ratios).toFixed(2)} times that.`,
  );
}

async function scenario(name: ScenarioName): Promise<void> {
  const rows = new Map<string, Measurement[]>(subjects.map((subject) => [subject.name, []]));
  for (let round = 0; round < (name === HOLDS_STREAMS ? 1 : rounds); round++) {
    for (const subject of subjects) {
      const running = await start(subject);
      const { values } = await ask<{ values: Measurement }>(
        driver,
        { kind: "run", scenario: name, pid: running.pid, seconds },
        "measured",
      );
      await running.stop();
      rows.get(subject.name)?.push(values);
    }
  }
  table(name, rows);
  if (protocol === "quic") await compareWithBare(rows.get("underpass") ?? []);
}

console.log(`Node ${process.version}, over ${protocol}, ${seconds} s a run, median of ${rounds}.`);
try {
  if (only === undefined || only.includes("start")) await startUp();
  if (only === undefined || only.includes("idle")) await idle();
  for (const name of SCENARIO_NAMES) if (only === undefined || only.includes(name)) await scenario(name);
  if (only === undefined || only.includes("capnp")) {
    console.log("\n### Cap'n Proto, µs\n\n| | underpass | capnp-ts |\n|---|---|---|");
    for (const row of benchmarkCapnp())
      console.log(`| ${row.name} | ${figure(row.ours_us)} | ${figure(row.capnp_ts_us)} |`);
  }
  if (only === undefined || only.includes("ingress")) {
    console.log("\n### The rule of a request, µs\n\n| | underpass | one rule after the other |\n|---|---|---|");
    for (const row of benchmarkIngress())
      console.log(`| ${row.name} | ${figure(row.index_us)} | ${figure(row.walk_us)} |`);
  }
} finally {
  driver.disconnect();
  origin.disconnect();
  rmSync(scratch, { recursive: true, force: true });
}
