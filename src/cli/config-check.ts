/** `underpass config check`: the configuration that would run, with where each value comes from, and no secret. */
import { formatDuration } from "../proxy/ingress/duration.ts";
import { findTokenSource } from "../config/identity.ts";
import { REDACTED } from "../proxy/ingress/redact.ts";
import { ruleName } from "../config/changes.ts";
import { findService } from "../config/ingress.ts";
import { formatKeyPath } from "../config/key-path.ts";
import { serviceOf } from "../config/service.ts";
import { showOriginRequest, showWarpRouting } from "../config/show-options.ts";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { IngressRule } from "../types.ts";
import type { Loaded } from "./load.ts";

type Shown = string | number | boolean | null | readonly string[];

interface Row {
  readonly name: string;
  readonly value: Shown;
  readonly source: string;
}

/** Text for people, or one JSON object. The same input gives the same output. */
export function describeConfig(loaded: Loaded, asJson: boolean): string {
  const rows = describeRows(loaded);
  const { warnings, notes } = loaded.plan;
  if (asJson) {
    const settings = Object.fromEntries(rows.map(({ name, value, source }) => [name, { value, source }]));
    return `${JSON.stringify({ ok: true, settings, warnings, notes }, null, 2)}\n`;
  }
  const shown = rows.map(({ name, value, source }) => ({ name, source, text: showValue(value) }));
  const [nameWidth, textWidth] = [widest(shown.map(({ name }) => name)), widest(shown.map(({ text }) => text))];
  const lines = shown.map(
    ({ name, text, source }) => `${name.padEnd(nameWidth)}  ${text.padEnd(textWidth)}  # ${source}`,
  );
  const remarks = [...warnings.map((text) => `warning: ${text}`), ...notes.map((text) => `note: ${text}`)];
  return `${[...lines, ...remarks, "The configuration is valid."].join("\n")}\n`;
}

function widest(texts: readonly string[]): number {
  // One long value must not push every comment off the screen.
  return Math.min(40, Math.max(...texts.map((text) => text.length)));
}

function showValue(value: Shown): string {
  if (value === null) return "-";
  if (typeof value === "object") return value.length === 0 ? "-" : value.join(", ");
  return String(value);
}

function describeRows({ plan, settings, log }: Loaded): readonly Row[] {
  const { config } = plan;
  const sourceOf = (...names: readonly string[]) =>
    names.map((name) => settings.get(name)?.where).find((where) => where !== undefined) ?? "default";
  const row = (name: string, value: Shown | undefined, ...names: readonly string[]): Row => ({
    name,
    value: value ?? null,
    source: sourceOf(...(names.length === 0 ? [name] : names)),
  });
  const { healthCheck } = config;
  return [
    ...describeIdentity({ plan, settings, log }),
    ...describeIngress({ plan, settings, log }),
    row("protocol", config.protocol),
    row("edge", config.edge),
    row("region", config.region),
    row("edge-ip-version", config.edgeIpVersion),
    row("edge-bind-address", config.edgeBindAddress),
    row("edge-proxy", showEdgeProxy(config)),
    row("cacert", settings.string("cacert")),
    row("post-quantum", config.postQuantum),
    row("ha-connections", config.haConnections),
    row("retries", config.retries),
    row("grace-period", formatDuration(config.gracePeriodMs)),
    row("exit-on-failure", config.exitOnFailure),
    row("state-directory", config.stateDirectory),
    row("rpc-timeout", formatDuration(config.rpcTimeoutMs)),
    row("health-check-interval", formatDuration(healthCheck.intervalMs)),
    row("max-failures", healthCheck.maxFailures),
    row("health-check-path", healthCheck.path),
    row("health-check-origins", healthCheck.origins),
    row("service-token-id", healthCheck.serviceToken?.clientId, "service-token-id", "service-token-file"),
    row("metrics", showMetrics(config)),
    row("management-hostname", config.management?.hostname ?? "off"),
    row(
      "tag",
      config.tags.map(({ name, value }) => `${name}=${value}`),
    ),
    row("features", config.features),
    row("error-page", settings.string("error-page")),
    row("dns-resolver-addrs", config.dnsResolvers),
    row("icmpv4-src", config.icmpv4Src),
    row("icmpv6-src", config.icmpv6Src),
    row("loglevel", log.level),
    row("output", log.format === "json" ? "json" : "default"),
    row("logfile", log.logfile),
    row("log-directory", log.logDirectory),
    row("pidfile", settings.string("pidfile")),
  ];
}

/** Without its user and password. */
function showEdgeProxy({ edgeProxy }: TunnelConfig): string | undefined {
  return edgeProxy === undefined ? undefined : `${edgeProxy.kind}://${edgeProxy.host}:${edgeProxy.port}`;
}

function describeIngress({ plan, settings }: Loaded): readonly Row[] {
  const { rules, warpRouting } = plan.config.ingress;
  const where = settings.file?.ingress?.where;
  const limit = settings.get("max-active-flows")?.where;
  return [
    ...rules.flatMap((rule, index) => describeRule({ plan, settings }, rule, index)),
    ...Object.entries(showWarpRouting(warpRouting)).map(([key, value]) => ({
      name: `warp-routing.${key}`,
      value: showOption(value),
      source: (key === "maxActiveFlows" ? limit : undefined) ?? where?.(["warp-routing", key]) ?? "default",
    })),
  ];
}

function describeRule({ plan, settings }: Pick<Loaded, "plan" | "settings">, rule: IngressRule, index: number): Row[] {
  const { from, whereOption } = plan.routes;
  const isRule = from === "rules";
  const service = serviceOf(rule.service) ?? rule.service.kind;
  const path = ["ingress", index] as const;
  const name = isRule ? formatKeyPath(path) : "service";
  return [
    {
      name,
      value: isRule ? `${ruleName(rule)} -> ${service}` : service,
      source: (isRule ? settings.file?.ingress?.where(path) : findService(settings)?.setting.where) ?? "default",
    },
    ...Object.entries(showOriginRequest(rule.originRequest)).map(([key, value]) => ({
      name: isRule ? `${name}.${key}` : `originRequest.${key}`,
      value: showOption(value),
      source: whereOption(index, key),
    })),
  ];
}

function showOption(value: unknown): Shown {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? value
    : JSON.stringify(value);
}

function describeIdentity({ plan, settings }: Loaded): readonly Row[] {
  const { identity } = plan.config;
  const file = settings.file;
  const token = findTokenSource(settings);
  const modeSource = file?.mode?.value === identity.mode ? file.mode.where : (token?.where ?? file?.path ?? "default");
  const mode: Row = {
    name: "mode",
    value: identity.mode,
    source: identity.mode === "quick" && !file ? "default" : modeSource,
  };
  if (identity.mode === "quick") {
    const source = settings.get("quick-service")?.where ?? "default";
    return [mode, { name: "quick-service", value: identity.quickService, source }];
  }
  const credentials = settings.get("credentials-contents")?.where ?? settings.get("credentials-file")?.where;
  const source = token?.where ?? credentials ?? "credentials file";
  return [
    mode,
    { name: "tunnel", value: identity.credentials.tunnelId, source },
    { name: "account", value: identity.credentials.accountTag, source },
    { name: "secret", value: REDACTED, source },
    { name: "hostname", value: identity.hostname ?? null, source: settings.get("hostname")?.where ?? "default" },
  ];
}

function showMetrics({ metrics }: TunnelConfig): string | null {
  if (metrics === undefined) return null;
  if (metrics.kind === "default") return `${metrics.host}:20241-20245, or any free port`;
  return `${metrics.host.includes(":") ? `[${metrics.host}]` : metrics.host}:${metrics.port}`;
}
