/** From all that was said to the one TunnelConfig that runs, with what is worth telling about it. */
import { configurationFlags, shownSettings } from "./configuration-flags.ts";
import { isContainer } from "./container.ts";
import { DEFAULT_HA_CONNECTIONS, DEFAULT_MANAGEMENT, DEFAULT_QUICK_SERVICE, defaultTunnelConfig } from "./defaults.ts";
import {
  type Findings,
  readEdgeAddressing,
  readEdgeList,
  readEdgeProxy,
  readIcmpSources,
  readMetrics,
  readPem,
  readProtocol,
  readRegion,
  readRequestLog,
  readResolvers,
  readStateDirectory,
  readTags,
} from "./edge-settings.ts";
import { readErrorPage } from "./error-page.ts";
import { expandHome } from "./files.ts";
import { readHealthCheck } from "./health-check.ts";
import { parseHostname } from "./hostname.ts";
import { checkStdin, findCredentialsOf, findTokenSource, hintOnToken, UsageError } from "./identity.ts";
import { namesService, planIngress, type PlannedIngress } from "./ingress.ts";
import type { Environment } from "./interpolate.ts";
import { limitFlows } from "./limit-flows.ts";
import { readManagement } from "./management.ts";
import type { MergedSettings } from "./merged.ts";
import { ConfigError, wrongValue } from "./problem.ts";
import { parseQuickService } from "./quick-service.ts";
import { checkStatuses } from "./statuses.ts";
import type { MetricsConfig, TunnelConfig, TunnelIdentity } from "./tunnel-config.ts";

export interface PlanRequest {
  /** `tunnel` follows cloudflared's rules; `native` is `underpass` and `underpass run`. */
  readonly style: "native" | "tunnel";
  /** Whether `run` was said. */
  readonly run: boolean;
  /** UUID or name of the tunnel, given as argument. */
  readonly tunnelRef: string | undefined;
  readonly settings: MergedSettings;
  readonly env: Environment;
  /** In place of a tunnel whose credentials can't be read, so that the rest can. */
  readonly standIn?: TunnelIdentity | undefined;
}

export interface Plan {
  readonly config: TunnelConfig;
  readonly routes: Pick<PlannedIngress, "from" | "whereOption">;
  readonly warnings: readonly string[];
  readonly notes: readonly string[];
}

/** Throws a ConfigError or UsageError that says all that is wrong. */
export function planTunnel(request: PlanRequest): Plan {
  const { settings, env } = request;
  const statuses = checkStatuses(settings);
  const findings: Findings = { problems: [...statuses.problems, ...checkStdin(settings)], warnings: [] };
  const mode = chooseMode(request, findings.warnings);
  const config = {
    ...defaultTunnelConfig,
    protocol: readProtocol(settings, findings),
    edge: readEdgeList(settings, findings),
    region: readRegion(settings, findings),
    ...readEdgeAddressing(settings, findings),
    edgeProxy: readEdgeProxy(settings, findings),
    cacert: readPem(settings, "cacert", env, findings),
    postQuantum: settings.bool("post-quantum"),
    quicDisablePmtuDiscovery: settings.bool("quic-disable-pmtu-discovery"),
    haConnections: mode === "quick" ? 1 : settings.number("ha-connections", DEFAULT_HA_CONNECTIONS),
    retries: settings.number("retries", defaultTunnelConfig.retries),
    gracePeriodMs: settings.number("grace-period", defaultTunnelConfig.gracePeriodMs),
    rpcTimeoutMs: settings.number("rpc-timeout", defaultTunnelConfig.rpcTimeoutMs),
    exitOnFailure: settings.bool("exit-on-failure"),
    stateDirectory: readStateDirectory(settings, env),
    healthCheck: readHealthCheck(settings, env, findings),
    metrics: readMetrics(settings, defaultMetrics(request), findings),
    management: readManagement(settings, DEFAULT_MANAGEMENT, findings),
    tags: readTags(settings, findings),
    features: settings.list("features"),
    maxActiveFlows: readMaxActiveFlows(settings),
    dnsResolvers: readResolvers(settings, findings),
    ...readIcmpSources(settings, findings),
    errorPage: readPage(settings, env, findings),
    requestLog: readRequestLog(settings, findings),
    flags: configurationFlags(settings),
    settings: shownSettings(settings),
  };
  const quickService = readQuickService(settings, findings);
  const hostname = readHostname(request, mode, findings);
  // What follows stops at its first problem: report the others with it.
  const planned = collect(findings, () => readIngress(request, mode, findings));
  const identity = collect(findings, () =>
    mode === "quick"
      ? ({ mode, quickService } satisfies TunnelIdentity)
      : (request.standIn ?? readNamed(request, hostname, findings.warnings)),
  );
  if (identity?.mode === "named" && config.region !== undefined && identity.credentials.endpoint !== undefined) {
    findings.problems.push({
      where: settings.get("region")?.where ?? "",
      text: `region provided with a token that has an endpoint ("${identity.credentials.endpoint}"); leave the region out`,
    });
  }
  if (findings.problems.length > 0 || planned === undefined || identity === undefined) {
    throw new ConfigError(findings.problems);
  }
  return {
    config: { ...config, ingress: limitFlows(planned.ingress, config.maxActiveFlows), identity },
    routes: planned,
    warnings: [...(settings.file?.warnings ?? []).map(({ where, text }) => `${where}: ${text}`), ...findings.warnings],
    notes: [...(settings.file?.notes ?? []), ...statuses.notes, ...hintOnToken(settings)],
  };
}

function collect<T>({ problems }: Findings, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // A usage error has its own exit status; it counts when nothing else is wrong.
    if (error instanceof UsageError && problems.length === 0) throw error;
    if (error instanceof UsageError) problems.push({ where: "", text: error.message });
    else if (error instanceof ConfigError) problems.push(...error.problems);
    else if (error instanceof Error && "code" in error && error.code === "ERR_UNDERPASS_CREDENTIALS") {
      problems.push({ where: "", text: error.message });
    } else throw error;
    return undefined;
  }
}

/** quick or named: a token on the command line, then `run`, then what the file says. */
function chooseMode({ style, run, settings }: PlanRequest, warnings: string[]): "quick" | "named" {
  const { flags, file } = settings;
  const tokenFlag = [flags.get("token"), flags.get("token-file")].find(
    (flag) => flag !== undefined && flag.value !== "",
  );
  const stated = file?.mode;
  if (tokenFlag !== undefined) {
    if (stated?.value === "quick") warnings.push(`${stated.where}: ${tokenFlag.where} was given: mode "named" is used`);
    return "named";
  }
  if (stated !== undefined && (style === "native" || !run)) {
    if (stated.value === "quick") warnOfUnusedToken(settings, stated.where, warnings);
    return stated.value;
  }
  if (run) return "named";
  const namesTunnel = file?.tunnel !== undefined || file?.layer.has("token") || flags.has("credentials-file");
  const hasService = namesService(flags) || namesService(settings.environment);
  if (style === "native" && namesTunnel) return "named";
  if (style === "tunnel" && file?.tunnel !== undefined && !hasService) {
    throw new ConfigError([
      { where: file.tunnel.where, text: "use `underpass tunnel run` to start the tunnel that this file names" },
    ]);
  }
  warnOfUnusedToken(settings, "quick tunnel", warnings);
  return "quick";
}

function warnOfUnusedToken(settings: MergedSettings, where: string, warnings: string[]): void {
  const token = findTokenSource(settings);
  if (token === undefined) return;
  const remedy =
    settings.file?.format === "toml" ? 'mode = "named" runs the tunnel that it names' : "underpass run uses it";
  warnings.push(`${where}: mode is "quick", so the token (${token.where}) is not used; ${remedy}`);
}

function readNamed(request: PlanRequest, hostname: string | undefined, warnings: string[]): TunnelIdentity {
  const { settings, tunnelRef, env, style } = request;
  const credentials = findCredentialsOf(settings, tunnelRef, env, style === "tunnel", warnings);
  if (credentials !== undefined) return { mode: "named", credentials, hostname };
  const stated = settings.file?.mode;
  if (stated !== undefined) {
    const text =
      'mode "named" needs a token: token = "…" under [tunnel.cloudflare], or the environment variable CLOUDFLARE_TUNNEL_TOKEN, would be right';
    throw new ConfigError([{ where: stated.where, text }]);
  }
  throw new UsageError(
    style === "tunnel"
      ? '"underpass tunnel run" requires a token (--token-file, TUNNEL_TOKEN), or the ID of the tunnel to run as the last argument or in the configuration file'
      : "no tunnel to run: give its token by --token-file, --token or TUNNEL_TOKEN; for a quick tunnel: underpass --url http://localhost:3000",
  );
}

/** An error where there is nothing to serve, unless rules may come from Cloudflare. */
function readIngress(request: PlanRequest, mode: "quick" | "named", { warnings }: Findings): PlannedIngress {
  const { settings, style, env } = request;
  const planned = planIngress({ settings, mode, env });
  warnings.push(...planned.warnings);
  if (mode === "quick" && planned.ingress.rules.some(({ service }) => service.kind === "bastion")) {
    warnings.push(
      "bastion on a quick tunnel: whoever learns its address can connect to every address that this machine reaches",
    );
  }
  if (planned.from !== "nothing") return planned;
  const localAddr = settings.file?.localAddr;
  if (localAddr !== undefined) {
    throw new ConfigError([
      wrongValue(localAddr, undefined, 'host:port such as "127.0.0.1:8080", or rules in [[tunnel.ingress]],'),
    ]);
  }
  if (mode === "quick") {
    const text = `no local service: give it as ${style === "tunnel" ? "underpass tunnel --url" : "underpass --url"} http://localhost:3000`;
    throw new ConfigError([{ where: "", text }]);
  }
  // A token is mostly that of a tunnel whose rules are kept at Cloudflare.
  if (findTokenSource(settings) === undefined) {
    warnings.push(
      "No ingress rules were defined in provided config (if any) nor from the cli, underpass will return 503 for all incoming HTTP requests",
    );
  }
  return planned;
}

function readPage(settings: MergedSettings, env: Environment, findings: Findings): TunnelConfig["errorPage"] {
  const chosen = settings.get("error-page");
  if (chosen === undefined) return undefined;
  return collect(findings, () => readErrorPage(expandHome(String(chosen.value), env), chosen.where));
}

function readMaxActiveFlows(settings: MergedSettings): number | undefined {
  return settings.get("max-active-flows") === undefined ? undefined : settings.number("max-active-flows", 0);
}

/** Under `underpass tunnel` the hostname has no part in running a tunnel, as in cloudflared. */
function readHostname(request: PlanRequest, mode: "quick" | "named", findings: Findings): string | undefined {
  const chosen = request.settings.get("hostname");
  if (chosen === undefined) return undefined;
  if (mode === "quick" || (request.style === "tunnel" && request.settings.file?.format !== "toml")) {
    findings.warnings.push(
      mode === "quick"
        ? `${chosen.where} is ignored: a quick tunnel gets its own hostname`
        : `${chosen.where} is ignored by a named tunnel: its hostnames are routed to it at Cloudflare`,
    );
    return undefined;
  }
  const hostname = parseHostname(String(chosen.value));
  if (hostname === undefined) {
    findings.problems.push(wrongValue(chosen.where, chosen.value, 'a host name such as "agent.example.com"'));
  }
  return hostname;
}

/** cloudflared's, but for who says all in a TOML file: there an absent port is none. */
function defaultMetrics({ env, settings, style }: PlanRequest): MetricsConfig | undefined {
  if (style === "native" && settings.file?.format === "toml") return undefined;
  return { kind: "default", host: isContainer(env) ? "0.0.0.0" : "127.0.0.1" };
}

function readQuickService(settings: MergedSettings, { problems }: Findings): string {
  // Not by `get`: an empty one is a mistake, which must not end at a service that nobody named.
  const chosen = settings.flags.get("quick-service") ?? settings.file?.layer.get("quick-service");
  if (chosen === undefined) return DEFAULT_QUICK_SERVICE;
  const service = parseQuickService(String(chosen.value), chosen.where);
  if (typeof service === "string") return service;
  problems.push(service);
  return DEFAULT_QUICK_SERVICE;
}
