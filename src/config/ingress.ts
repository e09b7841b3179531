/**
 * Which rules a tunnel starts with (ingress § 2): those of the file; else one service for everything, from flags, variables or the
 * file's keys of their names; else 503.
 */
import { formatDuration } from "../proxy/ingress/duration.ts";
import type { IngressSource } from "../proxy/ingress/parse.ts";
import type { Ingress } from "../types.ts";
import type { IngressSection } from "./config-file.ts";
import { checkIngress } from "./ingress-check.ts";
import type { Environment } from "./interpolate.ts";
import type { KeyPath } from "./key-path.ts";
import type { MergedSettings } from "./merged.ts";
import { ConfigError } from "./problem.ts";
import { serviceText, withoutRule } from "./service.ts";
import type { Setting, SettingLayer } from "./settings.ts";

/** Where the rules of a plan come from. */
export type IngressOrigin = "rules" | "service" | "nothing";

export interface PlannedIngress {
  readonly ingress: Ingress;
  readonly from: IngressOrigin;
  /** Where an option of a rule was said: in the rule, or for all of them. */
  readonly whereOption: (rule: number, key: string) => string;
  readonly warnings: readonly string[];
}

/** Settings that are options of the one service, and what `originRequest` calls them. */
const OPTIONS: ReadonlyMap<string, string> = new Map([
  ["proxy-connect-timeout", "connectTimeout"],
  ["proxy-tls-timeout", "tlsTimeout"],
  ["proxy-tcp-keepalive", "tcpKeepAlive"],
  ["proxy-no-happy-eyeballs", "noHappyEyeballs"],
  ["proxy-keepalive-connections", "keepAliveConnections"],
  ["proxy-keepalive-timeout", "keepAliveTimeout"],
  ["http-host-header", "httpHostHeader"],
  ["origin-server-name", "originServerName"],
  ["origin-ca-pool", "caPool"],
  ["no-tls-verify", "noTLSVerify"],
  ["no-chunked-encoding", "disableChunkedEncoding"],
  ["http2-origin", "http2Origin"],
  ["socks5", "proxyType"],
]);
/** Settings that name the one service, from the strongest, as in cloudflared. */
const SERVICES = ["hello-world", "bastion", "url", "unix-socket"] as const;

/** Every setting that only counts where there are no rules. */
export const singleServiceSettings: ReadonlySet<string> = new Set([...SERVICES, ...OPTIONS.keys()]);

/** Whether somebody who starts a tunnel has named its service, so that no file that lies around is asked. */
export function namesService(layer: SettingLayer): boolean {
  return SERVICES.some((name) => {
    const value = layer.get(name)?.value;
    return value === true || (typeof value === "string" && value !== "");
  });
}

export interface IngressRequest {
  readonly settings: MergedSettings;
  readonly mode: "quick" | "named";
  readonly env: Environment;
}

/** Throws a ConfigError that says all that is wrong. */
export function planIngress(request: IngressRequest): PlannedIngress {
  const { settings, mode } = request;
  const section = settings.file?.ingress;
  const given = findService(settings);
  const hasRules = section !== undefined && !isEmpty(section.source.ingress);
  // cloudflared takes the file's rules then too, which never match the random hostname of a quick tunnel (ingress § 2).
  const preferGiven = mode === "quick" && given !== undefined && given.setting.source !== "file";
  if (hasRules && !preferGiven) return planRules(section, request);
  if (given === undefined) return planNothing(request);
  const planned = planService(given, request);
  if (!hasRules) return planned;
  const ignored = `${given.setting.where} is used, and not the rules at ${section.where(["ingress"])}`;
  return { ...planned, warnings: [ignored, ...planned.warnings] };
}

function isEmpty(rules: unknown): boolean {
  return rules === undefined || rules === null || (Array.isArray(rules) && rules.length === 0);
}

function planRules(section: IngressSection, request: IngressRequest): PlannedIngress {
  const { ingress, warnings } = checkIngress(section, request.env);
  const ignored = request.settings
    .all()
    .filter(({ name, value }) => singleServiceSettings.has(name) && value !== false)
    .map(({ where }) => where);
  const text = `ignored beside the rules at ${section.where(["ingress"])}, which have options of their own: ${ignored.join(", ")}`;
  const { source, where } = section;
  const whereOption = (rule: number, key: string): string => {
    const own: unknown = Array.isArray(source.ingress) ? source.ingress[rule] : undefined;
    const isOwn = isTable(own) && hasKey(own["originRequest"], key);
    return where([...(isOwn ? ["ingress", rule] : []), "originRequest", key]);
  };
  return { ingress, from: "rules", whereOption, warnings: ignored.length === 0 ? warnings : [...warnings, text] };
}

interface GivenService {
  readonly setting: Setting;
  /** Weaker ones that the same source names. */
  readonly ignored: readonly Setting[];
}

/** What the strongest source says, of flags, environment and file. */
export function findService(settings: MergedSettings): GivenService | undefined {
  const layers = [settings.flags, settings.environment, ...(settings.file === undefined ? [] : [settings.file.layer])];
  for (const layer of layers) {
    const found = SERVICES.flatMap((name) => layer.get(name) ?? []).filter(({ name, value }) => {
      return typeof value === "boolean" ? value && settings.bool(name) : value !== "";
    });
    const [setting, ...ignored] = found;
    if (setting === undefined) continue;
    const unix = found.find(({ name }) => name === "unix-socket");
    const url = found.find(({ name }) => name === "url");
    if (unix !== undefined && url !== undefined) {
      throw new ConfigError([{ where: unix.where, text: `can't be used together with ${url.where}` }]);
    }
    return { setting, ignored };
  }
  return undefined;
}

function planService({ setting, ignored }: GivenService, request: IngressRequest): PlannedIngress {
  const { service, warnings } = nameService(setting);
  const planned = planSingle([{ service }], setting.where, request);
  const beside = ignored.map(({ where }) => `${where} is ignored beside ${setting.where}`);
  return { ...planned, from: "service", warnings: [...beside, ...warnings, ...planned.warnings] };
}

function nameService({ name, value, where }: Setting): { service: string; warnings: readonly string[] } {
  if (name === "hello-world") return { service: "hello_world", warnings: [] };
  if (name === "bastion") return { service: "bastion", warnings: [] };
  if (name === "unix-socket") return { service: `unix:${String(value)}`, warnings: [] };
  return serviceText({ value: String(value), where });
}

function planNothing(request: IngressRequest): PlannedIngress {
  return { ...planSingle([], "", request), from: "nothing" };
}

function planSingle(
  ingress: readonly { service: string }[],
  serviceWhere: string,
  { settings, env }: IngressRequest,
): Omit<PlannedIngress, "from"> {
  const section = settings.file?.ingress;
  const options = givenOptions(settings);
  const source: IngressSource = {
    ingress,
    originRequest: mergeOptions(options, section?.source.originRequest),
    "warp-routing": section?.source["warp-routing"],
  };
  const where = (path: KeyPath): string => {
    if (path[0] === "ingress") return serviceWhere;
    const option = path[0] === "originRequest" ? options.get(String(path[1])) : undefined;
    return option !== undefined && (option.source !== "file" || !hasKey(section?.source.originRequest, path[1]))
      ? option.where
      : (section?.where(path) ?? "");
  };
  const single = { source, where, strict: section?.strict ?? false };
  const whereOption = (_rule: number, key: string): string => where(["originRequest", key]);
  const { ingress: checked, warnings } = checkIngress(single, env, withoutRule);
  return { ingress: checked, warnings, whereOption };
}

/** By the names of `originRequest`. An empty text hides what weaker sources say. */
function givenOptions(settings: MergedSettings): ReadonlyMap<string, Setting> {
  const given = new Map<string, Setting>();
  for (const [name, key] of OPTIONS) {
    const setting = settings.flags.get(name) ?? settings.environment.get(name) ?? settings.file?.layer.get(name);
    if (setting !== undefined) given.set(key, setting);
  }
  return given;
}

/** Flags and variables count before the file's `originRequest`, and that before the file's flags. */
function mergeOptions(options: ReadonlyMap<string, Setting>, ofFile: unknown): unknown {
  if (ofFile !== undefined && ofFile !== null && !isTable(ofFile)) return ofFile;
  const values = (ofFiles: boolean) =>
    [...options]
      .filter(([, { source }]) => (source === "file") === ofFiles)
      .map(([key, { value }]) => [key, optionValue(key, value)] as const);
  return { ...Object.fromEntries(values(true)), ...ofFile, ...Object.fromEntries(values(false)) };
}

function optionValue(key: string, value: Setting["value"]): unknown {
  if (key === "proxyType") return value === true ? "socks" : "";
  if (typeof value === "number" && key !== "keepAliveConnections") return formatDuration(value);
  return value;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasKey(value: unknown, key: string | number | undefined): boolean {
  return isTable(value) && key !== undefined && Object.hasOwn(value, key);
}
