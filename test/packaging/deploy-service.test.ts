/** The unit, the image and the manifest in deploy/: what they name must be there. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { readCommandLine } from "../../src/cli/flags.ts";
import { systemdUnit } from "../../src/cli/service/unit.ts";
import { Scrubber } from "../../src/proxy/ingress/redact.ts";
import { cli } from "../cli/fake-io.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { findPeer, required, skipWithout } from "../peers.ts";

const root = resolve(import.meta.dirname, "../..");
const scratch = mkdtempSync(join(tmpdir(), "underpass-deploy-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const read = (path: string): string => readFileSync(join(root, "deploy", path), "utf8");

/** Starts a tunnel as they do, with a token of ours in the place of theirs. */
async function starts(args: readonly string[]): Promise<string> {
  const { problems } = readCommandLine(args, new Scrubber());
  if (problems.length > 0) return problems.map(({ where, text }) => `${where}: ${text}`).join();
  const token = join(scratch, "token");
  writeFileSync(token, makeCredentials().token, { mode: 0o600 });
  const replaced = args.map((arg) => arg.replace(/^(--token-file=)?\/run\/secrets\/.*$/, `$1${token}`));
  const { io, status, tunnel } = await cli(replaced);
  return tunnel === undefined || status !== 0 ? io.stderr.text : "";
}

describe("deploy/systemd/underpass.service", () => {
  it("is what `underpass service install` writes for a token", async () => {
    const unit = systemdUnit({
      service: "underpass",
      scope: "system",
      command: ["/usr/bin/node", "/usr/lib/node_modules/underpass/dist/cli/main.js", "run"],
      notifies: true,
      reloads: false,
      gracePeriodMs: 30_000,
      credentials: [["tunnel-token", "/etc/underpass/token"]],
      dynamicUser: true,
      needsHome: false,
    });
    // Written anew by `vitest run --update`.
    await expect(unit).toMatchFileSnapshot(join(root, "deploy/systemd/underpass.service"));
  });
});

describe("deploy/docker/Dockerfile", () => {
  const instruction = (name: string): string[] => {
    const line = new RegExp(`^${name}\\s(?:.*?)(\\[.*\\])$`, "m").exec(read("docker/Dockerfile"))?.[1] ?? "[]";
    return JSON.parse(line) as string[];
  };

  it("starts a tunnel", async () => {
    expect(instruction("ENTRYPOINT")).toEqual(["underpass"]);
    expect(await starts(instruction("CMD"))).toBe("");
  });

  it("is checked by a command that there is, and runs as nobody in particular", async () => {
    const [command, ...args] = instruction("HEALTHCHECK");
    expect(command).toBe("underpass");
    const { io, status } = await cli([...args, "--help"]);
    expect(status).toBe(0);
    expect(io.stdout.text).toContain(`underpass ${args[0]}`);
    expect(read("docker/Dockerfile")).toMatch(/^USER \d+/m);
  });

  it("has a Node.js that the package takes", () => {
    const major = Number(/^FROM node:(\d+)/m.exec(read("docker/Dockerfile"))?.[1]);
    expect(major).toBeGreaterThanOrEqual(20);
    expect(major % 2).toBe(0);
  });
});

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

interface Deployment {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly {
          readonly args: readonly string[];
          readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
          readonly readinessProbe: Probe;
          readonly livenessProbe: Probe;
          readonly volumeMounts: readonly { readonly mountPath: string }[];
        }[];
      };
    };
  };
}

describe("deploy/kubernetes/underpass.yaml", () => {
  const { spec } = (parse(read("kubernetes/underpass.yaml")) as Deployment).spec.template;
  const container = spec.containers[0];

  it("starts a tunnel with the mounted token", async () => {
    expect(await starts(container?.args ?? [])).toBe("");
    expect(container?.args).toContain(`--token-file=${container?.volumeMounts[0]?.mountPath}/token`);
  });

  it("looks at the port and the paths that the metrics server has", () => {
    const port = container?.ports.find(({ name }) => name === "metrics")?.containerPort;
    expect(container?.args).toContain(`--metrics=0.0.0.0:${port}`);
    expect(container?.readinessProbe.httpGet).toEqual({ path: "/ready", port: "metrics" });
    expect(container?.livenessProbe.httpGet).toEqual({ path: "/live", port: "metrics" });
    const server = readFileSync(join(root, "src/health/server.ts"), "utf8");
    for (const path of ["/ready", "/live"]) expect(server).toContain(`"${path}"`);
  });

  it("gives it longer than the grace period", () => {
    const grace = container?.args.find((arg) => arg.startsWith("--grace-period="));
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(Number.parseInt(grace?.split("=")[1] ?? "", 10));
  });
});

const analyze = findPeer("SYSTEMD_ANALYZE", "/usr/bin/systemd-analyze", "/bin/systemd-analyze");
describe.skipIf(skipWithout(analyze))("systemd-analyze security", () => {
  it("counts the unit among the safe ones", () => {
    const unit = join(root, "deploy/systemd/underpass.service");
    const args = ["security", "--offline=true", "--no-pager", "--threshold=40", unit];
    const { status, stderr, stdout } = spawnSync(required(analyze, "SYSTEMD_ANALYZE"), args, { encoding: "utf8" });
    expect(`${stdout.split("\n").at(-2)}${stderr}`).toContain("OK");
    expect(status).toBe(0);
  });
});
