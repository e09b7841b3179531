/** `underpass service install|uninstall`: a tunnel that systemd or launchd runs. */
import { chmodSync, existsSync, lstatSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { homedir } from "node:os";
import { UsageError } from "../../config/identity.ts";
import type { Scrubber } from "../../proxy/ingress/redact.ts";
import type { CommandLine } from "../flags.ts";
import type { CliIo } from "../io.ts";
import { type ServiceHost, thisHost } from "./host.ts";
import { FILES, type Place, placeOf, ServiceError } from "./place.ts";
import { planService, type ServicePlan } from "./plan.ts";
import { launchdPlist } from "./plist.ts";
import { systemdUnit } from "./unit.ts";

export interface ServiceRequest {
  readonly line: CommandLine;
  readonly io: CliIo;
  readonly scrubber: Scrubber;
  readonly host?: ServiceHost;
}

interface File {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

interface Removal {
  readonly removed: readonly string[];
  /** Whether nothing of it is left. */
  readonly ok: boolean;
}

/** The first version of systemd that hands over credentials. */
const CREDENTIALS_SINCE = 247;

export async function service({ io, line, scrubber, host = thisHost(io.env) }: ServiceRequest): Promise<number> {
  const [, verb, word] = line.words;
  const most = verb === "install" ? 3 : 2;
  if ((verb !== "install" && verb !== "uninstall") || line.words.length > most) {
    throw new UsageError("underpass service has two commands: service install [TOKEN], service uninstall");
  }
  const name = line.layer.get("name")?.value;
  const isDryRun = line.switches.has("dry-run");
  const home = io.env["HOME"] || homedir();
  const place = placeOf(host, home, name === undefined ? undefined : String(name), isDryRun && verb === "install");
  const say = (text: string): void => void io.stdout.write(scrubber.scrub(`${text}\n`));
  if (verb === "uninstall") return uninstall(place, host, say, isDryRun);
  const plan = await planService(line, word, io, scrubber);
  if (plan.token !== undefined && (word === plan.token || line.layer.has("token"))) {
    say("The token stands in your shell's history now; --token-file FILE, or - for stdin, keeps it out.");
  }
  return install(place, plan, host, say, isDryRun);
}

async function install(
  place: Place,
  plan: ServicePlan,
  host: ServiceHost,
  say: (text: string) => void,
  isDryRun: boolean,
): Promise<number> {
  const at = (path: string): string => join(host.root, path);
  if (existsSync(at(place.definition))) {
    const again = place.service === "underpass" ? "" : ` --name ${place.service.slice("underpass-".length)}`;
    throw new ServiceError(
      `${place.definition} is there already: \`underpass service uninstall${again}\` removes it, --name NAME installs another one beside it`,
    );
  }
  const files = await filesOf(place, plan, host, say);
  const taken = files.find(({ path }) => lstatSync(at(path), { throwIfNoEntry: false })?.isDirectory() === true);
  if (taken !== undefined) {
    throw new ServiceError(
      `${taken.path} is a directory, and a file is to stand there: move it away, or choose a --name`,
    );
  }
  for (const warning of plan.warnings) say(`Warning: ${warning}`);
  if (isDryRun) {
    if (!place.runsHere) say("# systemd does not run here: where a current one does, this would be written and run");
    for (const { mode, path, text } of files) {
      say(`# ${path} (mode ${mode.toString(8).padStart(4, "0")})`);
      say(path.endsWith("/token") ? "[redacted]\n" : text);
    }
    for (const command of place.install) say(`# ${command.join(" ")}`);
    return 0;
  }
  try {
    for (const file of files) write({ ...file, path: at(file.path) });
  } catch (error) {
    remove(place, at, say);
    const reason = error instanceof Error ? error.message : String(error);
    throw new ServiceError(`the files can't be written: ${reason}`);
  }
  for (const { path } of files) say(`Written: ${path}`);
  for (const command of place.install) {
    if (command.includes("start")) say("Starting it; that waits until the tunnel has registered, for a minute at most");
    if (!(await runs(command, host, say))) {
      say(`What is written stays, so that you can look; ${logHint(place)}`);
      return 1;
    }
  }
  say(`${place.service} is installed and runs; ${logHint(place)}`);
  if (place.manager === "systemd" && place.scope === "user") {
    say(`It ends when you log out, unless: loginctl enable-linger ${host.user}`);
  }
  return 0;
}

async function filesOf(
  place: Place,
  plan: ServicePlan,
  host: ServiceHost,
  say: (text: string) => void,
): Promise<readonly File[]> {
  const files: File[] = [];
  const token = join(place.directory, "token");
  const args = ["run"];
  if (plan.token !== undefined) files.push({ path: token, text: plan.token, mode: 0o600 });
  if (plan.config !== undefined) {
    const path = join(place.directory, plan.config.name);
    files.push({ path, text: plan.config.text, mode: plan.config.secret ? 0o600 : 0o644 });
    args.push(`--config=${path}`);
  }
  const handsOver = place.manager === "systemd" && place.scope === "system" && (await handsOverSecrets(place, host));
  const credentials: [string, string][] = [];
  if (plan.token !== undefined) {
    if (handsOver) credentials.push(["tunnel-token", token]);
    else args.push(`--token-file=${token}`);
  } else if (plan.credentialsFile !== undefined) {
    if (handsOver) credentials.push(["tunnel-credentials", plan.credentialsFile]);
    else args.push(`--credentials-file=${plan.credentialsFile}`);
  }
  args.push(...plan.flags, ...(plan.tunnelId === undefined ? [] : [plan.tunnelId]));
  if (host.script.includes("/_npx/")) {
    say("Warning: this is the copy of npx, which may be deleted any time; npm install -g underpass would be right");
  }
  const command = [host.node, host.script, ...args];
  const fleeting = command.find((part) => host.isTemporary(pathIn(part)));
  if (fleeting !== undefined) sayTemporary(fleeting, place, host, say);
  const isReachable = host.isPublic(host.node) && host.isPublic(host.script);
  if (place.scope === "system" && place.manager === "systemd" && !isReachable) {
    say(
      "Node.js or underpass lies where only some users can read it, so the service runs as root; installed for all users it would have a user of its own",
    );
  }
  const definition =
    place.logs === undefined
      ? systemdUnit({
          service: place.service,
          scope: place.scope,
          command,
          notifies: !place.runsHere || host.hasProgram("systemd-notify"),
          reloads: plan.config !== undefined,
          gracePeriodMs: plan.gracePeriodMs,
          credentials,
          dynamicUser: handsOver && isReachable && plan.config?.secret !== true,
          needsHome: command.some((part) => host.isInHome(pathIn(part))),
        })
      : launchdPlist({ label: place.service, command, logs: place.logs, gracePeriodMs: plan.gracePeriodMs });
  files.push({ path: place.definition, text: definition, mode: 0o644 });
  return files;
}

/** Of an argument, such as `--cacert=/path` or `--url=unix:/path`. */
function pathIn(argument: string): string {
  return argument.replace(/^--[^=]*=/, "").replace(/^unix(?:\+tls)?:/, "");
}

/** A unit of the machine has a directory for temporary files of its own, and would not start, or miss what it needs. */
function sayTemporary(part: string, place: Place, host: ServiceHost, say: (text: string) => void): void {
  const isProgram = part === host.node || part === host.script;
  const right = isProgram
    ? "npm install -g underpass (and a Node.js elsewhere) would be right"
    : "a place that lasts would be right (/run for a socket)";
  if (place.manager === "systemd" && place.scope === "system") {
    throw new ServiceError(
      `${part} lies among temporary files: they are not there for a service, which has its own /tmp and /var/tmp; ${right}`,
    );
  }
  say(`Warning: ${part} lies among temporary files, which are deleted in time or at a boot; ${right}`);
}

async function handsOverSecrets({ runsHere }: Place, host: ServiceHost): Promise<boolean> {
  if (!runsHere) return true;
  const { output } = await host.run("systemctl", ["--version"]);
  return Number(/^systemd (\d+)/.exec(output)?.[1] ?? 0) >= CREDENTIALS_SINCE;
}

/** Never into a file that is there, whose mode would stay. */
function write({ mode, path, text }: File): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  rmSync(path, { force: true });
  writeFileSync(path, text, { mode: 0o600, flag: "wx" });
  chmodSync(path, mode);
}

async function uninstall(
  place: Place,
  host: ServiceHost,
  say: (text: string) => void,
  isDryRun: boolean,
): Promise<number> {
  const at = (path: string): string => join(host.root, path);
  if (!existsSync(at(place.definition))) {
    throw new ServiceError(`${place.definition} is not there: nothing of that name is installed for this user`);
  }
  if (isDryRun) {
    for (const command of [...place.uninstall, ...place.afterwards]) say(`# ${command.join(" ")}`);
    return 0;
  }
  let ok = true;
  for (const command of place.uninstall) ok = (await runs(command, host, say)) && ok;
  const removal = remove(place, at, say);
  for (const path of removal.removed) say(`Removed: ${path}`);
  ok &&= removal.ok;
  for (const command of place.afterwards) ok = (await runs(command, host, say)) && ok;
  say(ok ? `${place.service} is uninstalled` : `${place.service} is uninstalled; see above for what has failed`);
  return ok ? 0 : 1;
}

/** What can't be removed is told, and stays. */
function remove(place: Place, at: (path: string) => string, say: (text: string) => void): Removal {
  const all = [place.definition, ...FILES.map((file) => join(place.directory, file))];
  const removed: string[] = [];
  let ok = true;
  for (const path of all.filter((one) => existsSync(at(one)))) {
    try {
      rmSync(at(path), { force: true });
      removed.push(path);
    } catch (error) {
      ok = false;
      say(`Can't be removed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  try {
    rmdirSync(at(place.directory));
  } catch {
    // Others have something there, or it was never made.
  }
  return { removed, ok };
}

async function runs(
  command: readonly [program: string, ...args: string[]],
  host: ServiceHost,
  say: (text: string) => void,
): Promise<boolean> {
  const [program, ...args] = command;
  const { output, status } = await host.run(program, args);
  if (status === 0) return true;
  say(`${command.join(" ")} has failed (status ${status})${output === "" ? "" : `:\n${output}`}`);
  return false;
}

function logHint({ logs, scope, service: name }: Place): string {
  if (logs !== undefined) return `its log: ${join(logs, `${name}.err.log`)}`;
  return `its log: journalctl ${scope === "user" ? "--user " : ""}-u ${name}`;
}
