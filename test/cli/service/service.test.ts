/** `underpass service` in a directory that stands for the machine; its files judged by systemd-analyze and plistlib. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { readCommandLine } from "../../../src/cli/flags.ts";
import { isPublic, lastingPath, type ServiceHost, thisHost } from "../../../src/cli/service/host.ts";
import { service } from "../../../src/cli/service/service.ts";
import { Scrubber } from "../../../src/proxy/ingress/redact.ts";
import { makeCredentials } from "../../config/make-credentials.ts";
import { findPeer, required, skipWithout } from "../../peers.ts";
import { cli, FakeIo } from "../fake-io.ts";

const made = makeCredentials();
const base = mkdtempSync(join(tmpdir(), "underpass-service-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(base, "root-"));
  mkdirSync(join(root, "run/systemd/system"), { recursive: true });
});

interface Asked extends Partial<ServiceHost> {
  readonly env?: Record<string, string>;
  readonly version?: number;
  /** Commands that fail, by a word of them. */
  readonly fails?: string;
}

async function run(args: readonly string[], { env = {}, fails, version = 252, ...more }: Asked = {}) {
  const commands: string[] = [];
  const host: ServiceHost = {
    platform: "linux",
    uid: 0,
    user: "ada",
    root,
    node: "/usr/bin/node",
    script: "/usr/lib/node_modules/underpass/dist/cli/main.js",
    hasProgram: () => true,
    isPublic: () => true,
    isInHome: (path) => path.startsWith("/root/"),
    // The roots of these tests are there themselves.
    isTemporary: () => false,
    run: async (program, words) => {
      if (words[0] === "--version") return { status: 0, output: `systemd ${version} (${version}.1)` };
      commands.push([program, ...words].join(" "));
      const failed = fails !== undefined && words.includes(fails);
      return failed ? { status: 3, output: "it does not want to" } : { status: 0, output: "" };
    },
    ...more,
  };
  const io = new FakeIo(env);
  const scrubber = new Scrubber();
  try {
    const line = readCommandLine(["service", ...args], scrubber);
    const status = await service({ line, io, scrubber, host });
    return { status, commands, text: io.stdout.text, error: "" };
  } catch (error) {
    return { status: 1, commands, text: io.stdout.text, error: error instanceof Error ? error.message : String(error) };
  }
}

const at = (path: string): string => join(root, path);
const read = (path: string): string => readFileSync(at(path), "utf8");
const mode = (path: string): number => statSync(at(path)).mode & 0o777;
const UNIT = "/etc/systemd/system/underpass.service";

function write(name: string, text: string, permissions = 0o600): string {
  const path = join(root, "home", name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, permissions);
  return path;
}

/** Every file under the root, where something of the installation could be left. */
function everything(): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length));
}

describe("a service of the machine under systemd", () => {
  it("has its token in a file of root alone, and nowhere else", async () => {
    const file = write("token", `${made.token}\n`);
    const { commands, status, text } = await run(["install", "--token-file", file, "--url", "http://localhost:8080"]);
    expect(status).toBe(0);
    expect(read("/etc/underpass/token")).toBe(made.token);
    expect(mode("/etc/underpass/token")).toBe(0o600);
    const unit = read(UNIT);
    expect(mode(UNIT)).toBe(0o644);
    expect(unit).toContain(
      "\nExecStart=/usr/bin/node /usr/lib/node_modules/underpass/dist/cli/main.js run --url=http://localhost:8080\n",
    );
    for (const line of [
      "Type=notify",
      "NotifyAccess=all",
      "LoadCredential=tunnel-token:/etc/underpass/token",
      "DynamicUser=yes",
      "NoNewPrivileges=yes",
      "ProtectSystem=strict",
      "ProtectHome=yes",
      "StateDirectory=underpass",
      "Restart=on-failure",
      "TimeoutStopSec=45s",
    ]) {
      expect(unit).toContain(`\n${line}\n`);
    }
    // A signal to read a file again would end a tunnel that has none.
    expect(unit).not.toContain("ExecReload");
    for (const shown of [unit, text, commands.join()]) expect(shown).not.toContain(made.token);
    expect(text).not.toContain("history");
    expect(commands).toEqual([
      "systemctl daemon-reload",
      "systemctl enable underpass.service",
      "systemctl start underpass.service",
    ]);
    expect(text).toContain("journalctl -u underpass");
  });

  it("takes the token as argument, with a hint, and from the environment, without", async () => {
    const argument = await run(["install", made.token]);
    expect(argument.status).toBe(0);
    expect(read("/etc/underpass/token")).toBe(made.token);
    expect(argument.text).toContain("shell's history");
    expect(argument.text).not.toContain(made.token);
    expect(read(UNIT)).not.toContain(made.token);
    const other = makeCredentials();
    const environment = await run(["install", "--name", "two"], { env: { TUNNEL_TOKEN: other.token } });
    expect(environment.status).toBe(0);
    expect(environment.text).not.toContain("history");
    expect(read("/etc/underpass/two/token")).toBe(other.token);
    expect(read("/etc/systemd/system/underpass-two.service")).toContain("StateDirectory=underpass-two\n");
  });

  it("runs a cloudflared configuration, which must name its credentials", async () => {
    const credentials = write("credentials.json", made.json);
    const config = (more: string) =>
      write("config.yml", `tunnel: ${made.tunnelId}\n${more}ingress:\n  - service: http://localhost:8080\n`);
    const { error } = await run(["install", "--config", config("")]);
    expect(error).toMatch(/credentials/);
    expect(everything().filter((path) => path.startsWith("/etc"))).toEqual([]);
    const path = config(`credentials-file: ${credentials}\ngrace-period: 2m\n`);
    expect((await run(["install", "--config", path])).error).toBe("");
    expect(read("/etc/underpass/config.yml")).toBe(readFileSync(path, "utf8"));
    expect(mode("/etc/underpass/config.yml")).toBe(0o644);
    const unit = read(UNIT);
    expect(unit).toContain("run --config=/etc/underpass/config.yml\n");
    expect(unit).toContain(`LoadCredential=tunnel-credentials:${credentials}\n`);
    expect(unit).toContain("ExecReload=/bin/kill -HUP $MAINPID\n");
    expect(unit).toContain("TimeoutStopSec=135s\n");
    expect(existsSync(at("/etc/underpass/token"))).toBe(false);
  });

  it("keeps a configuration with a token from everybody else", async () => {
    const text = `[tunnel]\nlocal_addr = "127.0.0.1:1"\n[tunnel.cloudflare]\nmode = "named"\ntoken = "${made.token}"\n`;
    expect((await run(["install", "--config", write("underpass.toml", text)])).error).toBe("");
    expect(mode("/etc/underpass/underpass.toml")).toBe(0o600);
    expect(read(UNIT)).not.toContain("DynamicUser");
    const quick = write("quick.toml", '[tunnel]\nlocal_addr = "127.0.0.1:1"\n[tunnel.cloudflare]\nmode = "quick"\n');
    expect((await run(["install", "--name", "q", "--config", quick])).error).toContain(
      "a quick tunnel has another address",
    );
  });

  it("says that it has none of the variables that are exported here", async () => {
    const text = (token: string) =>
      `[tunnel]\nlocal_addr = "127.0.0.1:1"\n[tunnel.cloudflare]\nmode = "named"\ntoken = "${token}"\n`;
    for (const name of ["MY_TOKEN", "TUNNEL_TOKEN"]) {
      const config = write("underpass.toml", text(`\${${name}}`));
      for (const env of [{}, { [name]: made.token }]) {
        const { error } = await run(["install", "--config", config], { env });
        expect(error).toContain(
          `underpass.toml:5: tunnel.cloudflare.token: found \${${name}}, and a service does not have`,
        );
        expect(error).toContain("the value itself would be right");
        expect(error).not.toMatch(/is not set|export [A-Z]/);
      }
    }
    const wrong = `${text("${MY_TOKEN}")}protocol = "smoke"\n`;
    const { error } = await run(["install", "--config", write("two.toml", wrong)], { env: { MY_TOKEN: made.token } });
    expect(error.split("\n")).toEqual([expect.stringContaining("${MY_TOKEN}"), expect.stringContaining("protocol")]);
    expect(everything().filter((path) => path.startsWith("/etc"))).toEqual([]);
  });

  it("names the token's file where systemd can't hand it over, and is root where others can't read the program", async () => {
    await run(["install", made.token], { version: 245 });
    expect(read(UNIT)).toContain("run --token-file=/etc/underpass/token\n");
    expect(read(UNIT)).not.toMatch(/DynamicUser|LoadCredential/);
    const { text } = await run(["install", "--name", "home", made.token], {
      isPublic: () => false,
      node: "/root/.nvm/versions/node/v20.19.0/bin/node",
    });
    const unit = read("/etc/systemd/system/underpass-home.service");
    expect(unit).not.toContain("DynamicUser");
    expect(unit).toContain("ProtectHome=read-only\n");
    expect(text).toContain("so the service runs as root");
  });

  it("waits for no notification without systemd-notify", async () => {
    await run(["install", made.token], { hasProgram: () => false });
    expect(read(UNIT)).toContain("Type=exec\n");
    expect(read(UNIT)).not.toMatch(/WatchdogSec|Notify/);
  });

  it("is not installed over another one", async () => {
    await run(["install", made.token]);
    const before = read(UNIT);
    const { commands, error } = await run(["install", makeCredentials().token]);
    expect(error).toContain("`underpass service uninstall` removes it");
    expect(commands).toEqual([]);
    expect(read(UNIT)).toBe(before);
    expect(read("/etc/underpass/token")).toBe(made.token);
  });

  it("--dry-run shows all and does nothing", async () => {
    const { commands, status, text } = await run(["install", "--dry-run", made.token]);
    expect(status).toBe(0);
    expect(text).toContain(`# ${UNIT} (mode 0644)\n# Written by`);
    expect(text).toContain("# /etc/underpass/token (mode 0600)\n[redacted]");
    expect(text).toContain("# systemctl enable underpass.service");
    expect(text).not.toContain(made.token);
    expect(commands).toEqual([]);
    expect(everything()).toEqual([]);
  });

  it("a start that fails is told, with status 1", async () => {
    const { status, text } = await run(["install", made.token], { fails: "start" });
    expect(status).toBe(1);
    expect(text).toContain("systemctl start underpass.service has failed (status 3):\nit does not want to");
    expect(text).not.toContain("installed and runs");
  });

  it("refuses what lies in a /tmp that it has of its own; a user's is warned", async () => {
    const here = thisHost({});
    const isTemporary = (path: string): boolean => here.isTemporary(path);
    const script = "/var/tmp/try/node_modules/underpass/dist/cli/main.js";
    for (const args of [[], ["--dry-run"]]) {
      const { commands, error } = await run(["install", made.token, ...args], { isTemporary, script });
      expect(error).toMatch(/main\.js lies among temporary files.*npm install -g underpass/);
      expect(commands).toEqual([]);
    }
    const socket = await run(["install", made.token, "--url", "unix:/tmp/app.sock"], { isTemporary });
    expect(socket.error).toMatch(/^--url=unix:\/tmp\/app\.sock lies among .*\/run for a socket/);
    expect(everything()).toEqual([]);
    const user = await run(["install", made.token], { isTemporary, script, uid: 1000, env: { HOME: "/home/ada" } });
    expect([user.status, user.error]).toEqual([0, ""]);
    expect(user.text).toMatch(/Warning: .*main\.js lies among temporary files, which are deleted in time/);
    // By a link, too; and only what lies there.
    mkdirSync(at("/lib"));
    symlinkSync(write("main.js", ""), at("/lib/main.js"));
    expect(isTemporary(at("/lib/main.js"))).toBe(tmpdir().startsWith("/tmp"));
    expect(["/srv/tmp/main.js", "/tmpfs/main.js", "/usr/bin/node"].filter((path) => isTemporary(path))).toEqual([]);
  });

  it("does not stumble over a directory where a file belongs", async () => {
    mkdirSync(at("/etc/underpass/token/of-mine"), { recursive: true });
    const { commands, error } = await run(["install", made.token]);
    expect(error).toContain("/etc/underpass/token is a directory, and a file is to stand there: move it away");
    expect([commands, everything()]).toEqual([[], []]);
    rmSync(at("/etc/underpass/token"), { recursive: true });
    await run(["install", made.token]);
    rmSync(at("/etc/underpass/token"));
    mkdirSync(at("/etc/underpass/token"));
    const removal = await run(["uninstall"]);
    expect([removal.status, removal.error]).toEqual([1, ""]);
    expect(removal.text).toMatch(/Can't be removed: .*underpass\/token/);
    expect(existsSync(at(UNIT))).toBe(false);
  });

  it("refuses what a service can't have, before it writes anything", async () => {
    const { error } = await run(["install", made.token, "--logfile", "x", "--edge-proxy", "http://u:p@h:1"]);
    expect(error).toContain("--logfile: not for a service");
    expect(error).toContain("--edge-proxy: would stand where every user can read it");
    expect((await run(["install", "no-token"])).error).toContain("token is not valid");
    expect((await run(["install"])).error).toContain("no tunnel to run");
    expect((await run(["install", made.token, "--retries", "many"])).error).toContain("--retries");
    expect((await run(["install", made.token, "--name", "../x"])).error).toContain("letters, digits");
    expect((await run(["install", made.token, "--name", "token"])).error).toContain("but for the word token");
    expect((await run(["start"])).error).toContain("service install [TOKEN], service uninstall");
    expect(everything()).toEqual([]);
  });

  it("uninstalling reverses it, and leaves others", async () => {
    await run(["install", made.token]);
    await run(["install", "--name", "two", made.token]);
    const { commands, status, text } = await run(["uninstall"]);
    expect(status).toBe(0);
    expect(commands).toEqual(["systemctl disable --now underpass.service", "systemctl daemon-reload"]);
    expect(text).toContain("Removed: /etc/underpass/token");
    expect(everything().sort()).toEqual(["/etc/systemd/system/underpass-two.service", "/etc/underpass/two/token"]);
    await run(["uninstall", "--name", "two"]);
    expect(everything()).toEqual([]);
    expect(existsSync(at("/etc/underpass/two"))).toBe(false);
    expect((await run(["uninstall"])).error).toContain(`${UNIT} is not there`);
  });
});

describe("a service of a user", () => {
  it("stands in the user's directories", async () => {
    const { commands, text } = await run(["install", made.token], { uid: 1000, env: { HOME: "/home/ada" } });
    expect(commands[2]).toBe("systemctl --user start underpass.service");
    const unit = read("/home/ada/.config/systemd/user/underpass.service");
    expect(unit).toContain("--token-file=/home/ada/.config/underpass/token\n");
    expect(unit).toContain("WantedBy=default.target\n");
    expect(unit).not.toMatch(/DynamicUser|ProtectSystem|network-online/);
    expect(mode("/home/ada/.config/underpass/token")).toBe(0o600);
    expect(text).toContain("loginctl enable-linger ada");
  });

  it("under launchd, too", async () => {
    const mac = { platform: "darwin", uid: 501, env: { HOME: "/Users/ada" } } as const;
    const { commands, text } = await run(["install", made.token], mac);
    const plist = "/Users/ada/Library/LaunchAgents/underpass.plist";
    expect(commands).toEqual([`launchctl bootstrap gui/501 ${plist}`]);
    expect(mode("/Users/ada/Library/Application Support/underpass/token")).toBe(0o600);
    expect(read(plist)).not.toContain(made.token);
    expect(text).toContain("/Users/ada/Library/Logs/underpass.err.log");
    expect((await run(["uninstall"], mac)).commands).toEqual(["launchctl bootout gui/501/underpass"]);
    expect(everything()).toEqual([]);
  });
});

describe("other machines", () => {
  it.each([
    ["win32", "no service for Windows yet"],
    ["freebsd", "neither on freebsd"],
  ] as const)("%s", async (platform, text) => {
    expect((await run(["install", made.token], { platform })).error).toContain(text);
  });

  it("a Linux without systemd", async () => {
    rmSync(at("/run"), { recursive: true });
    expect((await run(["install", made.token])).error).toMatch(/systemd does not run here.*container.*OpenRC/);
  });

  it("a Linux without systemd shows what would be written, once there is a token", async () => {
    rmSync(at("/run"), { recursive: true });
    const bare = { hasProgram: () => false, run: async () => ({ status: 1, output: "no such program" }) };
    const dry = async (...args: string[]) => run(["install", "--dry-run", ...args], bare);
    const { error, status, text } = await dry(made.token);
    expect([status, error]).toEqual([0, ""]);
    expect(text).toContain("# systemd does not run here: where a current one does, this would be written");
    expect(text).toContain(`# ${UNIT} (mode 0644)\n# Written by`);
    expect(text).toContain("\nType=notify\n");
    expect(text).toContain("\nLoadCredential=tunnel-token:/etc/underpass/token\n");
    expect((await dry()).error).toContain("no tunnel to run");
    expect((await dry("--token-file", write("empty", "\n"))).error).toContain("it is empty");
    expect((await dry("no-token")).error).toContain("token is not valid");
    expect((await dry(made.token, "--name", "../x")).error).toContain("letters, digits");
    expect((await run(["uninstall", "--dry-run"], bare)).error).toContain("systemd does not run here");
    expect(everything().filter((path) => !path.startsWith("/home/"))).toEqual([]);
  });

  it("programs are run as they are, and what they say is kept", async () => {
    const host = thisHost({ PATH: process.env["PATH"] ?? "" });
    expect(await host.run("sh", ["-c", "echo out; echo err >&2; exit 4"])).toEqual({ status: 4, output: "out\nerr" });
    expect(await host.run("no-such-program", [])).toMatchObject({ status: 1 });
    expect(host.hasProgram("sh")).toBe(true);
    expect(host.hasProgram("no-such-program")).toBe(false);
    expect(isPublic("/bin/sh")).toBe(true);
    expect(isPublic(write("mine", "x"))).toBe(false);
  });

  it("a program is named by the link in PATH, which an update leaves alone", () => {
    const real = write("Cellar/1.2.3/node", "", 0o755);
    mkdirSync(at("/bin"));
    symlinkSync(real, at("/bin/node"));
    expect(lastingPath(real, ["/nowhere", at("/bin")], "node")).toBe(at("/bin/node"));
    expect(lastingPath(real, ["/nowhere"], "node")).toBe(real);
    chmodSync(base, 0o700);
    expect(isPublic(at("/bin/node"))).toBe(false);
  });

  it("the command knows it", async () => {
    expect((await cli(["service", "--help"])).io.stdout.text).toContain("underpass service install --token-file FILE");
    expect((await cli(["service", "remove"])).io.stderr.text).toContain("service install [TOKEN], service uninstall");
    expect((await cli(["run", "--dry-run"])).io.stderr.text).toContain("unknown flag here");
  });
});

const analyze = findPeer("SYSTEMD_ANALYZE", "/usr/bin/systemd-analyze", "/bin/systemd-analyze");
const python = findPeer("AIOQUIC_PYTHON", "/usr/bin/python3", "/usr/local/bin/python3");
/** What a shell, systemd and XML each would take apart. */
const ODD = "http://localhost:8080/?a=%h&b=$HOME;c=\"d e\"<f>'g'\\h";

describe.skipIf(skipWithout(analyze))("systemd-analyze", () => {
  it.each([252, 245])("finds nothing wrong with the unit for systemd %d", async (version) => {
    const program = write("main.js", "", 0o644);
    const { error } = await run(["install", made.token, "--tag=a=b c"], {
      version,
      node: "/bin/sh",
      script: program,
    });
    expect(error).toBe("");
    const { status, stderr } = spawnSync(required(analyze, "SYSTEMD_ANALYZE"), ["verify", at(UNIT)], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  it("would find what is wrong", async () => {
    await run(["install", made.token], { node: "/bin/sh", script: write("main.js", "", 0o644) });
    writeFileSync(at(UNIT), read(UNIT).replace("NotifyAccess=all", "NotifyAccess=everybody").replace("/bin/sh", "sh"));
    const { stderr } = spawnSync(required(analyze, "SYSTEMD_ANALYZE"), ["verify", at(UNIT)], { encoding: "utf8" });
    expect(stderr).toContain("everybody");
  });
});

describe.skipIf(skipWithout(python))("Python's plistlib", () => {
  it("reads the property list", async () => {
    await run(["install", made.token, `--tag=a=${ODD.replaceAll(",", "")}`], { platform: "darwin", uid: 0 });
    const program = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    const file = at("/Library/LaunchDaemons/underpass.plist");
    const { stdout } = spawnSync(required(python, "AIOQUIC_PYTHON"), ["-c", program, file], { encoding: "utf8" });
    expect(JSON.parse(stdout)).toEqual({
      Label: "underpass",
      ProgramArguments: [
        "/usr/bin/node",
        "/usr/lib/node_modules/underpass/dist/cli/main.js",
        "run",
        "--token-file=/Library/Application Support/underpass/token",
        `--tag=a=${ODD}`,
      ],
      RunAtLoad: true,
      KeepAlive: { SuccessfulExit: false },
      ThrottleInterval: 5,
      ExitTimeOut: 45,
      StandardOutPath: "/Library/Logs/underpass.out.log",
      StandardErrorPath: "/Library/Logs/underpass.err.log",
    });
  });
});
