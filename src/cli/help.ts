/** The help texts. Flags come from the settings table, so that none is forgotten. */
import type { SettingSpec } from "../config/settings.ts";
import { settingsTable } from "../config/settings-table.ts";
import { TAIL_HELP } from "./tail-flags.ts";

const ROOT = `underpass - Cloudflare Tunnel without cloudflared

Usage:
  underpass --url http://localhost:3000              quick tunnel: a public URL, no account needed
  underpass run --token-file FILE --url URL          a tunnel of your own
  underpass --config underpass.toml                  what the file says
  underpass tunnel [flags] run [flags] [ID]          cloudflared's command lines, unchanged

Commands:
  run            run a named tunnel (token from --token-file, --token, TUNNEL_TOKEN or CLOUDFLARE_TUNNEL_TOKEN)
  tunnel         cloudflared's command of that name: tunnel run, tunnel --url
  config check   print the effective configuration, secrets redacted; --json for programs
  ingress        check the rules of a configuration file: ingress validate, ingress rule URL
  check          whether a tunnel can work from here, what keeps it from that, and what to do; --json for programs
  ready          exit 0 where the tunnel that runs on this machine has a registered connection
  healthcheck    say how the tunnel on this machine is: ready, degraded, or only live; --json for programs
  diag           a zip file of all that is to be known about the tunnel on this machine, without secrets
  tail           follow the log of a tunnel that runs somewhere else, through Cloudflare
  service        let systemd or launchd run a tunnel: service install, service uninstall
  mock-edge      an edge on this machine to test against
  demo           mock edge, connector and a demo page, all on this machine
  version        print the version; --short for the number alone
  help           this text

Flags may stand anywhere, as --name value or --name=value. underpass run --help lists them.
`;

const RUN = `underpass run - run a named tunnel

Usage:
  underpass run --token-file FILE --url http://localhost:8080 [flags] [TUNNEL-ID]
`;

const TUNNEL = `underpass tunnel - cloudflared's command lines

Usage:
  underpass tunnel [flags] run [flags] [TUNNEL-ID]   run a named tunnel
  underpass tunnel [flags] --url URL                 run a quick tunnel
  underpass tunnel [--config FILE] ingress validate  check the rules of a configuration file
  underpass tunnel [--config FILE] ingress rule URL  show the rule that a URL is served by
`;

const CONFIG = `underpass config check - print the effective configuration, secrets redacted

Usage:
  underpass config check [--config FILE] [--json] [flags]
`;

const INGRESS = `underpass ingress - check the rules of a configuration file

Usage:
  underpass ingress validate [--config FILE]   say what is wrong with the rules, or OK
  underpass ingress rule URL [--config FILE]   show the rule that a URL is served by

Without --config the file is looked for where cloudflared looks for it. --json '{"ingress": […]}' validates that instead.
`;

const CHECK = `underpass check - whether a tunnel can work from here

Usage:
  underpass check [--json] [flags]

Looks at DNS, TCP and UDP to Cloudflare's edge, the proxy, the API, the clock; and, as far as the flags of underpass run (or the
environment, or the file of --config) tell them, at the configuration, the token and the services that requests go to. Exit 1 where
something has failed that a tunnel needs. Takes 20 seconds at most; nothing is changed anywhere.
`;

const DIAG = `underpass diag - collect what is to be known about the tunnel on this machine

Usage:
  underpass diag [flags] [FILE.zip]

Finds the tunnel by its metrics server (see underpass ready --help) and writes its state, settings, rules, metrics and log, the system,
and the result of underpass check into FILE.zip, or into a new file of the working directory. Tokens, secrets and passwords are taken
out; read it before you hand it on.

Flags:
  --metrics HOST:PORT        which tunnel, where several run
  --diag-container-id ID     take the log from docker
  --diag-pod-id POD          take the log from kubectl
  --no-diag-logs, --no-diag-metrics, --no-diag-system, --no-diag-runtime, --no-diag-network
                             leave a part out
`;

const READY = `underpass ready, underpass healthcheck - how the tunnel on this machine is

Usage:
  underpass ready [--metrics HOST:PORT]              silent; exit 0 with a registered connection, else 1 and why
  underpass healthcheck [--json] [--strict] [--metrics …]
                                                     one line; exit 0 for ready and degraded (with --strict for ready
                                                     alone), 1 for live or nothing

ready: every connection is registered, and the last health check was good. degraded: requests get through, but there are fewer
connections than wanted, the public hostname does not answer as it should, or an origin is down. live: the process runs, and no
connection is registered.

The tunnel is found by its metrics server: at --metrics, TUNNEL_METRICS or the file of --config, else on ports 20241 to 20245
of this machine, where it is by default. Where several are found, ready asks for --metrics, and healthcheck tells of each.
`;

const SERVICE = `underpass service - a tunnel that systemd or launchd runs, from boot on

Usage:
  underpass service install --token-file FILE [flags]   a tunnel by its token (- is stdin)
  underpass service install TOKEN [flags]               the same; the token stays in your shell's history
  underpass service install --config FILE [flags]       what the file says: underpass.toml, or cloudflared's config.yml
  underpass service uninstall                           ends it, and removes all that install has written

Flags:
  --name NAME    a service of its own, underpass-NAME, beside others
  --dry-run      only show the files and commands
  and those of underpass run, which the service is then started with

As root it is a service of the machine, else of the user. The token goes into a file that nobody else can read.
`;

const MANAGEMENT = `underpass management token - print an access token for a tunnel's management service, as JSON

Usage:
  underpass management token --resource RESOURCE [flags] TUNNEL-ID

Flags:
  --resource RESOURCE  logs (what underpass tail needs), host_details or admin
  --origincert FILE    cert.pem of cloudflared login (default: where cloudflared looks for it; $TUNNEL_ORIGIN_CERT)
  --api-url URL        Cloudflare's API (default https://api.cloudflare.com/client/v4; $TUNNEL_API_URL)
`;

/** Help for a command; the root's for anything else. */
export function helpFor(words: readonly string[]): string {
  switch (words[0]) {
    case "run":
      return `${RUN}\nFlags:\n${listFlags()}`;
    case "ingress":
      return INGRESS;
    case "check":
      return CHECK;
    case "diag":
      return DIAG;
    case "service":
      return SERVICE;
    case "tail":
      return TAIL_HELP;
    case "management":
      return MANAGEMENT;
    case "ready":
    case "healthcheck":
      return READY;
    case "tunnel":
      if (words[1] === "ingress") return INGRESS;
      if (words[1] === "diag") return DIAG;
      if (words[1] === "ready") return READY;
      return `${TUNNEL}\nFlags:\n${listFlags()}`;
    case "config":
      return `${CONFIG}\nThe flags are those of underpass run.\n`;
    default:
      return ROOT;
  }
}

function listFlags(): string {
  const flags = settingsTable.filter(({ status }) => status.kind === "supported");
  const rest = settingsTable.filter(({ status }) => status.kind === "not-yet").map(({ name }) => `--${name}`);
  const lines = flags.map((spec) => `  ${usage(spec)}\n      ${describe(spec)}`);
  return `${lines.join("\n")}\n\nNot there yet, accepted only when turned off:\n${wrap(rest)}\n`;
}

function usage(spec: SettingSpec): string {
  const names = [spec.name, ...spec.aliases].map((name) => `${name.length <= 2 ? "-" : "--"}${name}`).join(", ");
  return spec.type === "bool"
    ? names
    : `${names} ${spec.type === "list" ? "value,…" : spec.type === "string" ? "value" : spec.type}`;
}

function describe({ help, fallback, env }: SettingSpec): string {
  const details = [
    ...(fallback === undefined ? [] : [`default ${fallback}`]),
    ...(env.length === 0 ? [] : [env.map((name) => `$${name}`).join(", ")]),
  ];
  return details.length === 0 ? help : `${help} (${details.join("; ")})`;
}

function wrap(names: readonly string[]): string {
  const lines = [""];
  for (const name of names) {
    const last = lines.at(-1) ?? "";
    if (last.length + name.length > 100) lines.push(name);
    else lines[lines.length - 1] = last === "" ? name : `${last} ${name}`;
  }
  return lines.map((line) => `  ${line}`).join("\n");
}
