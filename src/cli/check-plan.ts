/**
 * What `underpass check` looks at: what a tunnel with this command line, environment and file would need. What is wrong with them
 * becomes rows, and the network is looked at all the same: with nothing configured, it alone.
 */
import { DEFAULT_QUICK_SERVICE, defaultTunnelConfig } from "../config/defaults.ts";
import {
  type Findings,
  readEdgeAddressing,
  readEdgeList,
  readEdgeProxy,
  readPem,
  readProtocol,
  readRegion,
} from "../config/edge-settings.ts";
import { CredentialsError } from "../config/credentials.ts";
import { readEnvironment } from "../config/environment.ts";
import { findCredentialsOf, findTokenSource, UsageError } from "../config/identity.ts";
import { namesService } from "../config/ingress.ts";
import type { Environment } from "../config/interpolate.ts";
import { MergedSettings } from "../config/merged.ts";
import { ConfigError, formatProblem } from "../config/problem.ts";
import { Secret } from "../config/secret.ts";
import type { TunnelConfig, TunnelCredentials, TunnelIdentity } from "../config/tunnel-config.ts";
import { remedyOf } from "../error-catalogue.ts";
import { UnderpassError } from "../errors.ts";
import { originsOf } from "../health/diagnostics/checks/origin-checks.ts";
import { knownRow, messageOf } from "../health/diagnostics/checks/row.ts";
import type { CheckPlan, CheckResult } from "../health/diagnostics/checks/types.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { CommandLine } from "./flags.ts";
import type { CliIo } from "./io.ts";
import { loadPlan, loadSettings, type LoadRequest } from "./load.ts";

const DEFAULT_API = "https://api.cloudflare.com/client/v4";
const FED_API = "https://api.fed.cloudflare.com/client/v4";
/** Beyond them the first ones say enough. */
const MAX_WARNINGS = 10;

export interface CheckInput {
  readonly plan: CheckPlan;
  /** How the edge is dialled. */
  readonly dial: Pick<TunnelConfig, "cacert" | "edgeBindAddress" | "edgeProxy" | "postQuantum">;
  /** What is known without the network: of the configuration and the token. */
  readonly rows: readonly CheckResult[];
}

/** Where the token is what is wrong: rules and origins don't depend on it. */
const STAND_IN: TunnelIdentity = {
  mode: "named",
  credentials: {
    accountTag: "",
    tunnelSecret: new Secret(new Uint8Array(32)),
    tunnelId: "00000000-0000-0000-0000-000000000000",
    endpoint: undefined,
  },
  hostname: undefined,
};

type EdgeSettings = Omit<TunnelConfig, "identity" | "ingress">;

/** Never throws for what is configured wrongly. */
export async function readCheckInput(line: CommandLine, io: CliIo, scrubber: Scrubber): Promise<CheckInput> {
  const rows: CheckResult[] = [];
  const request: LoadRequest = { line, style: "native", run: false, tunnelRef: undefined };
  let settings: MergedSettings;
  let readable = true;
  try {
    settings = await loadSettings(request, io, scrubber);
  } catch (error) {
    readable = false;
    rows.push(...problemRows(error));
    settings = new MergedSettings(line.layer, readEnvironment(io.env).layer, undefined);
  }
  const token = readToken(settings, io);
  const config = readable ? await readConfig(request, settings, token, io, scrubber, rows) : undefined;
  const edge = config ?? readEdge(settings, io);
  return {
    dial: edge,
    rows: [...rows, token.row],
    plan: config === undefined ? networkPlan(edge, settings, token, io.env) : checkPlanOf(config, io.env, settings),
  };
}

/** What a tunnel with this configuration needs. `settings` may name another API. */
export function checkPlanOf(config: TunnelConfig, environment: Environment, settings?: MergedSettings): CheckPlan {
  const { edge, edgeIpVersion, edgeProxy, identity, ingress, protocol, region } = config;
  const endpoint = identity.mode === "named" ? identity.credentials.endpoint : undefined;
  return {
    // A proxy carries TCP alone.
    protocol: edgeProxy === undefined ? protocol : "http2",
    edge,
    region: region ?? endpoint,
    edgeIpVersion,
    api: apiOf(settings, endpoint),
    quickService: identity.mode === "quick" ? urlOf(identity.quickService) : undefined,
    needsQuickService: identity.mode === "quick",
    origins: originsOf(ingress.rules),
    environment,
  };
}

/** Where there is no configuration: the way to the edge, and to a quick tunnel where no named one is meant. */
function networkPlan(
  { edge, edgeIpVersion, edgeProxy, protocol, region }: EdgeSettings,
  settings: MergedSettings,
  token: Token,
  environment: Environment,
): CheckPlan {
  const endpoint = token.credentials?.endpoint;
  const quickService = settings.string("quick-service") ?? DEFAULT_QUICK_SERVICE;
  return {
    // A proxy carries TCP alone.
    protocol: edgeProxy === undefined ? protocol : "http2",
    edge,
    region: region ?? endpoint,
    edgeIpVersion,
    api: apiOf(settings, endpoint),
    quickService: token.isNamed ? undefined : urlOf(quickService),
    needsQuickService: false,
    origins: [],
    environment,
  };
}

function apiOf(settings: MergedSettings | undefined, endpoint: string | undefined): URL {
  return urlOf(settings?.string("api-url")) ?? new URL(endpoint === "fed" ? FED_API : DEFAULT_API);
}

function urlOf(text: string | undefined): URL | undefined {
  return text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
}

interface Token {
  readonly row: CheckResult;
  readonly credentials: TunnelCredentials | undefined;
  readonly isNamed: boolean;
  /** What is wrong with it, so that the configuration need not repeat it. */
  readonly problem: string | undefined;
}

function readToken(settings: MergedSettings, io: CliIo): Token {
  const named = [settings.get("credentials-contents"), settings.get("credentials-file")];
  const source = findTokenSource(settings) ?? named.find((setting) => setting !== undefined);
  const where = source?.where ?? settings.file?.tunnel?.where;
  const head = { id: "token", component: "Token", target: where ?? "-" } as const;
  if (where === undefined) {
    const details = "none is given: named tunnels need one, quick tunnels don't";
    return {
      row: knownRow(head, { status: "skipped", details }),
      credentials: undefined,
      isNamed: false,
      problem: undefined,
    };
  }
  try {
    const credentials = findCredentialsOf(settings, undefined, io.env, false);
    const details =
      credentials === undefined ? "" : `tunnel ${credentials.tunnelId}, account ${credentials.accountTag}`;
    return { row: knownRow(head, { status: "ok", details }), credentials, isNamed: true, problem: undefined };
  } catch (error) {
    if (!(error instanceof UnderpassError)) throw error;
    const details = messageOf(error).replace(`${where}: `, "");
    const isBroken = error instanceof CredentialsError;
    const action = isBroken ? remedyOf(error) : `let ${where} name a file that is there, and that you may read`;
    const row = { ...knownRow(head, { status: "failed", details, action }), code: error.code };
    return { row, credentials: undefined, isNamed: true, problem: error.message };
  }
}

/** Undefined where nothing is configured, or wrongly. Adds rows of the configuration. */
async function readConfig(
  request: LoadRequest,
  settings: MergedSettings,
  token: Token,
  io: CliIo,
  scrubber: Scrubber,
  rows: CheckResult[],
): Promise<TunnelConfig | undefined> {
  const target = settings.file?.path ?? "command line and environment";
  const head = { id: "configuration", component: "Configuration", target } as const;
  const hasService = namesService(settings.flags) || namesService(settings.environment);
  if (!token.isNamed && !hasService && settings.file === undefined) {
    rows.push(
      knownRow(head, { status: "skipped", details: "no tunnel is configured: the network alone is looked at" }),
    );
    return undefined;
  }
  try {
    const standIn = token.problem === undefined ? undefined : STAND_IN;
    const { plan } = await loadPlan({ ...request, run: token.isNamed, standIn }, io, scrubber);
    rows.push(knownRow(head, { status: "ok", details: `valid; a ${plan.config.identity.mode} tunnel` }));
    for (const details of plan.warnings.slice(0, MAX_WARNINGS)) {
      rows.push(knownRow({ ...head, id: "configuration.warning" }, { status: "warning", details }));
    }
    return plan.config;
  } catch (error) {
    rows.push(...problemRows(error, token.problem));
    return undefined;
  }
}

function problemRows(error: unknown, told?: string): readonly CheckResult[] {
  if (error instanceof UsageError && error.message === told) return [];
  if (!(error instanceof UnderpassError)) throw error;
  const problems = error instanceof ConfigError ? error.problems : [{ where: "", text: error.message }];
  return problems
    .filter((problem) => formatProblem(problem) !== told && problem.text !== told)
    .map(({ text, where }) => ({
      ...knownRow(
        {
          id: "configuration",
          component: "Configuration",
          target: where === "" ? "command line and environment" : where,
        },
        { status: "failed", details: text, action: remedyOf(error) },
      ),
      code: error.code,
    }));
}

/** What can be read of how the edge is reached, where the whole can't. */
function readEdge(settings: MergedSettings, io: CliIo): EdgeSettings {
  const findings: Findings = { problems: [], warnings: [] };
  return {
    ...defaultTunnelConfig,
    protocol: readProtocol(settings, findings),
    edge: readEdgeList(settings, { problems: [], warnings: [] }),
    region: readRegion(settings, findings),
    ...readEdgeAddressing(settings, findings),
    edgeProxy: readEdgeProxy(settings, findings),
    cacert: readPem(settings, "cacert", io.env, findings),
    postQuantum: settings.bool("post-quantum"),
  };
}
