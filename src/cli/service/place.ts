/** Where a service's files stand, and what is said to the service manager. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { UnderpassError } from "../../errors.ts";
import type { ServiceHost } from "./host.ts";

/** A service that can't be installed or removed. */
export class ServiceError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_SERVICE", message);
  }
}

export interface Place {
  readonly manager: "systemd" | "launchd";
  /** False for a machine that it is only shown for. */
  readonly runsHere: boolean;
  readonly scope: "system" | "user";
  /** `underpass` or `underpass-NAME`. */
  readonly service: string;
  /** The unit or the property list. */
  readonly definition: string;
  /** Holds the token and the copy of the configuration. */
  readonly directory: string;
  /** Where launchd writes the log; undefined where it goes to the journal. */
  readonly logs: string | undefined;
  readonly install: readonly Command[];
  readonly uninstall: readonly Command[];
  /** After the files are gone. */
  readonly afterwards: readonly Command[];
}

type Command = readonly [program: string, ...args: string[]];

/** All that an installation may have written into the directory. */
export const FILES = ["token", "config.yml", "underpass.toml"] as const;

/** Throws where no service manager runs; where files are only shown, on a system that could have one it need not. */
export function placeOf(host: ServiceHost, home: string, name: string | undefined, isDryRun: boolean): Place {
  if (name !== undefined && (name === "token" || !/^[A-Za-z0-9][\w-]{0,60}$/.test(name))) {
    throw new ServiceError(
      `--name: found "${name.slice(0, 80)}"; letters, digits, - and _ would be right, but for the word token`,
    );
  }
  const service = name === undefined ? "underpass" : `underpass-${name}`;
  const scope = host.uid === 0 ? "system" : "user";
  if (host.platform === "darwin") return launchd(host, home, service, scope, name);
  const runsHere = existsSync(join(host.root, "/run/systemd/system"));
  if (host.platform === "linux" && (runsHere || isDryRun)) return systemd(home, service, scope, name, runsHere);
  throw new ServiceError(explain(host.platform));
}

function systemd(
  home: string,
  service: string,
  scope: Place["scope"],
  name: string | undefined,
  runsHere: boolean,
): Place {
  const [units, settings] =
    scope === "system"
      ? ["/etc/systemd/system", "/etc/underpass"]
      : [join(home, ".config/systemd/user"), join(home, ".config/underpass")];
  const systemctl: Command = scope === "system" ? ["systemctl"] : ["systemctl", "--user"];
  const unit = `${service}.service`;
  return {
    manager: "systemd",
    runsHere,
    scope,
    service,
    definition: join(units, unit),
    directory: name === undefined ? settings : join(settings, name),
    logs: undefined,
    install: [
      [...systemctl, "daemon-reload"],
      [...systemctl, "enable", unit],
      [...systemctl, "start", unit],
    ],
    uninstall: [[...systemctl, "disable", "--now", unit]],
    afterwards: [[...systemctl, "daemon-reload"]],
  };
}

function launchd(
  host: ServiceHost,
  home: string,
  service: string,
  scope: Place["scope"],
  name: string | undefined,
): Place {
  const library = scope === "system" ? "/Library" : join(home, "Library");
  const domain = scope === "system" ? "system" : `gui/${host.uid}`;
  const definition = join(library, scope === "system" ? "LaunchDaemons" : "LaunchAgents", `${service}.plist`);
  const settings = join(library, "Application Support/underpass");
  return {
    manager: "launchd",
    runsHere: true,
    scope,
    service,
    definition,
    directory: name === undefined ? settings : join(settings, name),
    logs: join(library, "Logs"),
    install: [["launchctl", "bootstrap", domain, definition]],
    uninstall: [["launchctl", "bootout", `${domain}/${service}`]],
    afterwards: [],
  };
}

function explain(platform: NodeJS.Platform): string {
  const run = "`underpass run --token-file FILE`";
  if (platform === "win32") {
    return `there is no service for Windows yet; the Task Scheduler (at startup), or a wrapper such as WinSW or NSSM, can run ${run}`;
  }
  if (platform === "linux") {
    return `systemd does not run here (/run/systemd/system is missing), and other service managers are not set up by this command; in a container let ${run} be its command; under OpenRC let supervise-daemon, else runit, s6 or supervisord run it`;
  }
  return `systemd or launchd is wanted, and there is neither on ${platform}; any other service manager can run ${run}`;
}
