import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCredentials } from "../config/make-credentials.ts";
import { cli } from "./fake-io.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-cli-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const made = makeCredentials();

describe("help and version", () => {
  it("print to stdout and exit 0", async () => {
    for (const args of [
      [],
      ["--help"],
      ["help"],
      ["run", "--help"],
      ["tunnel", "-h"],
      ["help", "config"],
      ["tunnel", "help"],
    ]) {
      const { status, io } = await cli(args);
      expect(status).toBe(0);
      expect(io.stdout.text).toContain("Usage:");
      expect(io.stderr.text).toBe("");
    }
    expect((await cli(["run", "--help"])).io.stdout.text).toContain("--token-file value");
    expect((await cli(["run", "--help"])).io.stdout.text).toContain("--hello-world");
  });

  it("version is the package's", async () => {
    for (const args of [["version"], ["--version"], ["-v"], ["-V"]]) {
      expect((await cli(args)).io.stdout.text).toMatch(/^underpass version \d+\.\d+\.\d+\S*\n$/);
    }
    expect((await cli(["version", "--short"])).io.stdout.text).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
  });
});

describe("cloudflared's command lines", () => {
  it.each([
    [["tunnel", "--no-autoupdate", "run", "--token", made.token]],
    [["--no-autoupdate", "tunnel", "run", "--token", made.token]],
    [["tunnel", "run", "--token", made.token, "--no-autoupdate", "--url", "http://localhost:1"]],
    [
      [
        "tunnel",
        "--metrics",
        "127.0.0.1:2000",
        "--edge-ip-version",
        "4",
        "--retries=7",
        "run",
        "--protocol",
        "http2",
        `--token=${made.token}`,
      ],
    ],
    [
      [
        "tunnel",
        "--loglevel",
        "warn",
        "--transport-loglevel",
        "warn",
        "--management-diagnostics=false",
        "run",
        "--token",
        made.token,
      ],
    ],
  ])("run: %#", async (args) => {
    const { status, tunnel } = await cli(args);
    expect(status).toBe(0);
    expect(tunnel?.config.identity).toMatchObject({ mode: "named", credentials: { tunnelId: made.tunnelId } });
  });

  it("the container image's: TUNNEL_TOKEN alone, text on stderr", async () => {
    const { io, tunnel } = await cli(["--no-autoupdate", "tunnel", "run"], { TUNNEL_TOKEN: made.token });
    expect(tunnel?.config).toMatchObject({ metrics: { kind: "default" }, haConnections: 4 });
    expect(io.stderr.text).toMatch(new RegExp(`^\\S+ INF Starting tunnel tunnelID=${made.tunnelId}\n`));
    expect(io.stdout.text).toBe("");
  });

  it("quick tunnels: tunnel --url, and --url at the root", async () => {
    for (const args of [
      ["tunnel", "--url", "http://localhost:3000"],
      ["--url", "http://localhost:3000"],
      ["-url=localhost:3000"],
    ]) {
      const { status, tunnel } = await cli(args);
      expect(status).toBe(0);
      expect(tunnel?.config).toMatchObject({ identity: { mode: "quick" }, haConnections: 1 });
    }
  });

  it("read the default file for run, and for a quick tunnel only when it names the service", async () => {
    const home = join(directory, "home");
    mkdirSync(join(home, ".cloudflared"), { recursive: true });
    writeFileSync(join(home, ".cloudflared", `${made.tunnelId}.json`), made.json);
    const config = join(home, ".cloudflared", "config.yml");
    writeFileSync(config, `tunnel: ${made.tunnelId}\nurl: http://localhost:8000\nretries: 9\n`);
    const named = await cli(["tunnel", "run"], { HOME: home });
    expect(named.tunnel?.config).toMatchObject({ retries: 9, identity: { mode: "named" } });
    const quick = await cli(["tunnel", "--url", "http://localhost:1"], { HOME: home });
    expect(quick.tunnel?.config).toMatchObject({
      retries: 5,
      ingress: { rules: [{ service: { url: new URL("http://localhost:1") } }] },
    });
    expect((await cli(["tunnel"], { HOME: home })).io.stderr.text).toContain("underpass tunnel run");
    // Without `tunnel`, the file's url alone asks for a quick tunnel.
    writeFileSync(config, "url: http://localhost:8000\n");
    const byFile = await cli(["tunnel"], { HOME: home });
    expect(byFile.tunnel?.config).toMatchObject({
      identity: { mode: "quick" },
      ingress: { rules: [{ service: { url: new URL("http://localhost:8000") } }] },
    });
    // Ours alone do not look around.
    expect(
      (await cli(["run", "--token", made.token], { HOME: home })).tunnel?.config.ingress.rules[0]?.service,
    ).toMatchObject({
      kind: "status",
    });
  });
});

describe("exit statuses", () => {
  it.each([
    [["tunnel", "run"], 255],
    [["tunnel", "run", "--token", "abc"], 255],
    [["tunnel", "run", "--token-file", "/nonexistent"], 255],
    [["tunnel", "run", "a", "b"], 255],
    [["tunnel"], 1],
    [["tunnel", "foo"], 1],
    [["tunnel", "--nosuch"], 1],
    [["tunnel", "run", "--nosuch", "--token", made.token], 1],
    [["tunnel", "--grace-period", "4m", "run", "--token", made.token], 1],
    [["tunnel", "--protocol", "spdy", "run", "--token", made.token], 1],
    [["tunnel", "--config", "/nonexistent.yml", "run"], 1],
    [["tunnel", "run", made.tunnelId], 1],
    [["tunnel", "run", "some-name"], 1],
    [["tunnel", "--trace-output", "x"], 1],
    [["ingress"], 1],
    [["ingress", "validate"], 1],
    [["tunnel", "ingress", "rule"], 1],
    [["tunnel", "login"], 1],
    [["tunnel", "db-connect"], 255],
    [["run"], 1],
    [["run", "--token", "abc"], 1],
    [["run", "a", "b"], 1],
    [["foo"], 1],
    [["--nosuch"], 1],
    [["--config", "/nonexistent.toml"], 1],
    [["config"], 1],
    [["config", "check", "--json", "--nosuch"], 1],
    [["access", "tcp", "--hostname", "x", "-T", "y"], 1],
    [["service", "install"], 1],
    [["--url", "1", "--json"], 1],
  ])("%j exits %i", async (args, expected) => {
    const { status, io, tunnel } = await cli(args);
    expect(status).toBe(expected);
    expect(tunnel).toBeUndefined();
    expect(io.stdout.text).toBe("");
    expect(io.stderr.text).toMatch(/^underpass: /);
    // Readable: no stack, no raw object.
    expect(io.stderr.text).not.toMatch(/\n {4}at |\[object|undefined/);
    expect(io.listeners).toBe(0);
  });
});

describe("error texts", () => {
  const textOf = async (args: readonly string[], env = {}) => (await cli(args, env)).io.stderr.text;

  it("name the nearest flag and command", async () => {
    expect(await textOf(["tunnel", "--tokn", "x", "run"])).toBe(
      "underpass: --tokn: unknown flag; did you mean --token?\n",
    );
    expect(await textOf(["rnu"])).toBe('underpass: unknown command "rnu"; did you mean run?\n');
    expect(await textOf(["tunnel", "rn"])).toBe('underpass: unknown command "tunnel rn"; did you mean run?\n');
    expect(await textOf(["3000"])).toContain("underpass --url http://localhost:3000");
  });

  it.each([["run"], ["tunnel", "run"], [], ["tunnel"]])(
    "a token as a word of %j is told how to be given",
    async (...words) => {
      for (const token of [made.token, made.token.slice(0, -5)]) {
        const { io, status } = await cli([...words, token]);
        expect(status).not.toBe(0);
        expect(io.stderr.text).toContain("--token-file FILE or the variable TUNNEL_TOKEN, or as cloudflared's --token");
        expect(io.stderr.text).not.toContain(token.slice(0, 20));
        expect(io.stderr.text).not.toContain("by its name");
      }
    },
  );

  it("refuse a format of the log that is none, where no log is written, too", async () => {
    for (const command of ["run", "config check", "check", "ready", "healthcheck", "ingress validate", "diag"]) {
      const args = [...command.split(" "), "--output", "out.txt", "--url", "http://localhost:1"];
      const { io, status } = await cli(args, { TUNNEL_TOKEN: made.token });
      expect([command, status]).toEqual([command, 1]);
      expect(io.stderr.text).toContain('--output: found "out.txt"; "default" or "json"');
    }
  });

  it("say what is not there yet", async () => {
    const advice =
      "What to do: leave it out; the status table of the README says what is there (ERR_UNDERPASS_NOT_YET)\n";
    expect(await textOf(["access", "tcp"])).toBe(`underpass: \`underpass access\` is not there yet\n${advice}`);
    expect(await textOf(["tunnel", "create", "x"])).toBe(
      `underpass: \`underpass tunnel create\` is not there yet\n${advice}`,
    );
    expect(await textOf(["proxy-dns"])).toContain("is gone");
    expect(await textOf(["update"])).toContain("npm");
  });

  it("tell all that is wrong on the command line and in the environment at once", async () => {
    const text = await textOf("run --retries x --protocol h3 --url ftp://x --bogus=1 --cacert /nope".split(" "), {
      TUNNEL_EDGE: "zz",
      TUNNEL_METRICS: "yy",
    });
    const told = text.match(/(?<=^underpass: )[^:]*/gm) ?? [];
    expect(told.slice(0, -1).sort()).toEqual(
      ["--bogus", "--cacert", "--protocol", "--retries", "--url", "TUNNEL_EDGE", "TUNNEL_METRICS"].sort(),
    );
    expect(told.at(-1)).toMatch(/^no tunnel to run/);
  });

  it("tell of unknown keys also where something else is wrong", async () => {
    const wrong = write("wrong-and-unknown.yml", "retriess: 4\nurl: http://localhost:1\nretries: x\n");
    expect(await textOf(["--config", wrong])).toMatch(/retries: found "x".*\n.*retriess is ignored/);
    const elsewhere = write("unknown.yml", "retriess: 4\nurl: http://localhost:1\n");
    expect(await textOf(["--config", elsewhere, "--protocol", "h3"])).toMatch(/found "h3".*\n.*retriess is ignored/);
    const two = write("two.yml", "retries: 4\n---\nretries: 5\n");
    expect(await textOf(["--config", two])).toContain(":2:1: not valid YAML: a second document begins here");
  });

  it("report the command line, the environment and the file together, each with its place", async () => {
    const path = write("bad.toml", '[tunnel]\nlocal_addr = 1\n[tunnel.cloudflare]\nprotocol = "h3"\n');
    expect(await textOf(["--config", path])).toBe(
      `underpass: ${path}:2: tunnel.local_addr: found 1; host:port such as "127.0.0.1:8080" would be right\n` +
        `underpass: ${path}:4: tunnel.cloudflare.protocol: found "h3"; "auto", "quic" or "http2" would be right\n`,
    );
    const both = await textOf(["--retries", "x"], { TUNNEL_GRACE_PERIOD: "y" });
    expect(both).toContain("--retries: found");
    expect(both).toContain("TUNNEL_GRACE_PERIOD: found");
  });

  it("follow cloudflared's sentences where people look for them", async () => {
    expect(await textOf(["tunnel", "run", "--token", "abc"])).toMatch(
      /^underpass: --token: Provided Tunnel token is not valid: .*\nSee 'underpass tunnel run --help'\.\n$/,
    );
  });
});

describe("underpass config check", () => {
  it("prints the effective configuration with its sources, and no secret", async () => {
    const path = write(
      "check.toml",
      `[tunnel]\nlocal_addr = "127.0.0.1:8080"\nmax_failures = 2\n[tunnel.cloudflare]\nmode = "named"\ntoken = "\${T}"\nhostname = "a.example.com"\nprotocol = "quic"\n`,
    );
    const { status, io, tunnel } = await cli(["config", "check", "--config", path, "--retries", "9"], {
      T: made.token,
    });
    expect(status).toBe(0);
    expect(tunnel).toBeUndefined();
    const { text } = io.stdout;
    expect(text).toMatch(new RegExp(`^mode +named +# ${path}:5: tunnel.cloudflare.mode$`, "m"));
    expect(text).toMatch(new RegExp(`^tunnel +${made.tunnelId} +# ${path}:6: tunnel.cloudflare.token$`, "m"));
    expect(text).toMatch(/^secret +\[redacted\]/m);
    expect(text).toMatch(/^service +http:\/\/127\.0\.0\.1:8080 +# .*:2: tunnel\.local_addr$/m);
    expect(text).toMatch(/^retries +9 +# --retries$/m);
    expect(text).toMatch(/^grace-period +30s +# default$/m);
    expect(text).toMatch(/^max-failures +2 /m);
    expect(text).toMatch(new RegExp(`^protocol +quic +# ${path}:8: tunnel.cloudflare.protocol$`, "m"));
    expect(text).toMatch(/The configuration is valid\.\n$/);
    expect(text).not.toContain(made.token);
    expect(text).not.toContain(made.secret);
    expect((await cli(["config", "check", path, "--retries", "9"], { T: made.token })).io.stdout.text).toBe(text);
  });

  it("prints JSON for programs", async () => {
    const { io } = await cli(["config", "check", "--json", "--url", "3000", "--token", made.token, "--ui"]);
    const printed = JSON.parse(io.stdout.text);
    expect(printed).toMatchObject({
      ok: true,
      settings: {
        mode: { value: "named", source: "--token" },
        service: { value: "http://localhost:3000", source: "--url" },
        secret: { value: "[redacted]" },
        metrics: { value: expect.stringContaining("20241-20245"), source: "default" },
      },
      warnings: [],
      notes: ["Accepted, without effect as in cloudflared: --ui", expect.stringMatching(/^--token can be read/)],
    });
    expect(io.stdout.text).not.toContain(made.token);
  });

  it("exits 1 with the problems of a wrong file", async () => {
    const path = write("wrong.yml", "retries: x\n");
    const { status, io } = await cli(["config", "check", path]);
    expect(status).toBe(1);
    expect(io.stdout.text).toBe("");
    expect(io.stderr.text).toContain(`${path}:1:1: retries: found "x"`);
  });

  it("reports a dozen problems without a warning about listeners", async () => {
    const keys = Array.from({ length: 12 }, (_value, index) => `wrong_${index} = 1\n`).join("");
    const path = write("dozen.toml", `[tunnel]\nlocal_addr = "127.0.0.1:8080"\n${keys}`);
    const { status, io } = await cli(["config", "check", path]);
    expect(status).toBe(1);
    expect(io.stderr.text.match(/unknown key/g)).toHaveLength(12);
    expect(io.stderr.listenerCount("error")).toBe(1);
  });
});
