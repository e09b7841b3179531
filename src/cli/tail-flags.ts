/** The flags of `underpass tail`: cloudflared's, with its variables (operations § 2.5). */
import { type ConfigProblem, ConfigError, wrongValue } from "../config/problem.ts";
import type { Environment } from "../config/interpolate.ts";
import { parseUuid } from "../config/uuid.ts";
import { LOG_EVENTS, LOG_LEVELS } from "../health/management/log-tap.ts";
import { type LogFilters, NO_FILTERS } from "../health/management/messages.ts";
import { parseOwnFlags } from "./own-flags.ts";

export const TAIL_HELP = `underpass tail - follow the log of a tunnel that runs somewhere else

Usage:
  underpass tail [flags] TUNNEL-ID             with cert.pem of cloudflared login
  underpass tail [flags] --token TOKEN         with an access token for the tunnel
  underpass tail [flags] token TUNNEL-ID       print an access token as JSON, for --token

Writes the log of one of the tunnel's connectors to stdout, underpass's or cloudflared's, until Ctrl-C. Requests are of level debug.

Flags:
  --connector-id UUID         which connector, where the tunnel has several ($TUNNEL_MANAGEMENT_CONNECTOR)
  --event EVENT               cloudflared, http, tcp or udp; a list has commas, or more --event (default all;
                              $TUNNEL_MANAGEMENT_FILTER_EVENTS)
  --level LEVEL               debug, info, warn or error, and those above it (default debug; $TUNNEL_MANAGEMENT_FILTER_LEVEL)
  --sample N                  part of the entries, above 0, up to 1 (default 1; $TUNNEL_MANAGEMENT_FILTER_SAMPLE)
  --output FORMAT             default or json, an object a line ($TUNNEL_MANAGEMENT_OUTPUT, $TUNNEL_LOG_OUTPUT)
  --token TOKEN               access token; visible in process lists, so prefer $TUNNEL_MANAGEMENT_TOKEN
  --origincert FILE           cert.pem (default: where cloudflared looks for it; $TUNNEL_ORIGIN_CERT)
  --api-url URL               Cloudflare's API (default https://api.cloudflare.com/client/v4; $TUNNEL_API_URL)
  --management-hostname HOST  where it is asked for, host or host:port (default management.argotunnel.com;
                              $TUNNEL_MANAGEMENT_HOSTNAME)
  --trace ID                  sent as the header cf-trace-id
`;

const FLAGS = {
  "connector-id": { type: "string" },
  event: { type: "string", multiple: true },
  level: { type: "string" },
  sample: { type: "string" },
  output: { type: "string" },
  token: { type: "string" },
  origincert: { type: "string" },
  "api-url": { type: "string" },
  "management-hostname": { type: "string" },
  trace: { type: "string" },
  // cloudflared's, for its own lines; here there are none but errors.
  loglevel: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

const VARIABLES = {
  "connector-id": ["TUNNEL_MANAGEMENT_CONNECTOR"],
  level: ["TUNNEL_MANAGEMENT_FILTER_LEVEL"],
  sample: ["TUNNEL_MANAGEMENT_FILTER_SAMPLE"],
  output: ["TUNNEL_MANAGEMENT_OUTPUT", "TUNNEL_LOG_OUTPUT"],
  token: ["TUNNEL_MANAGEMENT_TOKEN"],
  origincert: ["TUNNEL_ORIGIN_CERT"],
  "api-url": ["TUNNEL_API_URL"],
  "management-hostname": ["TUNNEL_MANAGEMENT_HOSTNAME"],
  trace: [],
} as const;

const EVENTS_VARIABLE = "TUNNEL_MANAGEMENT_FILTER_EVENTS";

export interface TailPlan {
  /** `token` prints one and ends. */
  readonly command: "tail" | "token";
  readonly tunnelId: string | undefined;
  readonly connectorId: string | undefined;
  readonly filters: LogFilters;
  readonly json: boolean;
  readonly token: string | undefined;
  readonly originCert: string | undefined;
  readonly apiUrl: string;
  readonly host: string;
  readonly trace: string | undefined;
}

/** The plan, or "help". Throws a ConfigError that says all that is wrong. */
export function readTailFlags(args: readonly string[], env: Environment): TailPlan | "help" {
  const { positionals, values } = parseOwnFlags("tail", args, FLAGS);
  if (values.help === true) return "help";
  const problems: ConfigProblem[] = [];
  const text = (name: keyof typeof VARIABLES): { value: string | undefined; where: string } => {
    if (values[name] !== undefined) return { value: values[name], where: `--${name}` };
    const variable = VARIABLES[name].find((each) => (env[each] ?? "") !== "");
    return { value: variable === undefined ? undefined : env[variable], where: variable ?? `--${name}` };
  };
  const checked = <T>(
    name: keyof typeof VARIABLES,
    fallback: T,
    read: (value: string) => T | undefined,
    expected: string,
  ): T => {
    const { value, where } = text(name);
    const result = value === undefined ? fallback : read(value);
    if (result === undefined && value !== undefined) problems.push(wrongValue(where, value, expected));
    return result ?? fallback;
  };
  const [command, words] =
    positionals[0] === "token" ? (["token", positionals.slice(1)] as const) : (["tail", positionals] as const);
  const [ref, ...rest] = words;
  const tunnelId = ref === undefined ? undefined : parseUuid(ref);
  if (ref !== undefined && tunnelId === undefined) problems.push(wrongValue("the tunnel", ref, "its UUID"));
  if (rest.length > 0) problems.push({ where: "", text: "tail takes one argument at most: the tunnel's UUID" });
  const events = (values.event ?? [env[EVENTS_VARIABLE] ?? ""])
    .flatMap((list) => list.split(","))
    .map((event) => event.trim())
    .filter((event) => event !== "");
  const eventsFrom = values.event === undefined ? EVENTS_VARIABLE : "--event";
  for (const event of events) {
    if (!LOG_EVENTS.some((each) => each === event)) problems.push(wrongValue(eventsFrom, event, LOG_EVENTS.join(", ")));
  }
  const plan: TailPlan = {
    command,
    tunnelId,
    connectorId: checked("connector-id", undefined, parseUuid, "a UUID"),
    filters: {
      events: LOG_EVENTS.filter((event) => events.includes(event)),
      level: checked(
        "level",
        NO_FILTERS.level,
        (value) => LOG_LEVELS.find((each) => each === value),
        LOG_LEVELS.join(", "),
      ),
      sampling: checked("sample", 1, readSample, "a number above 0, up to 1"),
    },
    json:
      checked("output", "default", (value) => ["default", "json"].find((each) => each === value), "default or json") ===
      "json",
    token: filled(text("token").value?.trim()),
    originCert: filled(text("origincert").value),
    apiUrl: checked(
      "api-url",
      "https://api.cloudflare.com/client/v4",
      readUrl,
      "a URL such as https://api.cloudflare.com/client/v4",
    ),
    host: checked(
      "management-hostname",
      "management.argotunnel.com",
      readHost,
      "a host name, or host:port with a port of 1 to 65535",
    ),
    trace: checked(
      "trace",
      undefined,
      (value) => (/^[\x21-\x7e]+$/.test(value) ? value : undefined),
      "printable ASCII",
    ),
  };
  if (plan.tunnelId === undefined && ref === undefined && (plan.token === undefined || command === "token")) {
    problems.push({
      where: "",
      text: "which tunnel? its UUID, as in underpass tail UUID, or an access token by --token",
    });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return plan;
}

function readSample(text: string): number | undefined {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : 0;
  return value > 0 && value <= 1 ? value : undefined;
}

function readUrl(text: string): string | undefined {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) ? text : undefined;
}

function readHost(text: string): string | undefined {
  const parts = /^(?:[a-z\d](?:[a-z\d.-]*[a-z\d])?|\[[\da-f:]+\])(?::(\d{1,5}))?$/i.exec(text);
  if (parts === null || Number(parts[1] ?? 443) === 0) return undefined;
  return URL.canParse(`wss://${text}`) ? text : undefined;
}

/** `--token "$TOKEN"` with a variable that is not set gives none. */
function filled(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
