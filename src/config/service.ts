/** A service as people write it, in `--url`, `local_addr` or an ingress rule, as an Origin. */
import { describeValue } from "../redact.ts";
import type { Origin, Service } from "../types.ts";
import type { Located } from "./config-file.ts";
import type { MergedSettings } from "./merged.ts";
import { ConfigError, type ConfigProblem, wrongValue } from "./problem.ts";
import type { SettingLayer } from "./settings.ts";

const NOT_YET = /^(?:tcp|ssh|rdp|smb|ws|wss|socks5?|h2c):|^(?:hello[-_]world|bastion|socks-proxy)$/i;
const EXPECTED = "an http or https URL, host:port, a port, or unix:/path";

/** The service that the strongest source names, or undefined when none does. */
export function findOrigin(settings: MergedSettings): { origin: Origin; warnings: readonly string[] } | undefined {
  const { flags, environment, file } = settings;
  const found = inLayer(flags) ?? inLayer(environment) ?? file?.service ?? (file && inLayer(file.layer));
  return found && readService(found);
}

function inLayer(layer: SettingLayer): Located<string> | undefined {
  const url = layer.get("url");
  const unix = layer.get("unix-socket");
  if (unix !== undefined && unix.value !== "") {
    if (url !== undefined && url.value !== "") {
      throw new ConfigError([{ where: unix.where, text: `can't be used together with ${url.where}` }]);
    }
    return { value: `unix:${String(unix.value)}`, where: unix.where };
  }
  return url === undefined || url.value === "" ? undefined : { value: String(url.value), where: url.where };
}

/** Throws a ConfigError that says where it stands and what would be right. */
export function readService({ value, where }: Located<string>): { origin: Origin; warnings: readonly string[] } {
  const text = value.trim();
  const refuse = (problem: ConfigProblem): never => {
    throw new ConfigError([problem]);
  };
  if (NOT_YET.test(text)) {
    return refuse({ where, text: `${describeValue(text)} is not there yet; ${EXPECTED} would be right` });
  }
  const unix = /^unix(\+tls)?:(.+)$/.exec(text);
  if (unix?.[2] !== undefined) {
    return {
      origin: { kind: "unix", path: unix[2].replace(/^\/\/(?=\/)/, ""), tls: unix[1] !== undefined },
      warnings: [],
    };
  }
  const status = /^http_status:(\d+)$/.exec(text)?.[1];
  if (status !== undefined) {
    if (Number(status) < 200 || Number(status) > 599)
      return refuse(wrongValue(where, text, "a status from 200 to 599"));
    return { origin: { kind: "status", status: Number(status) }, warnings: [] };
  }
  const url = parseUrl(text);
  if (url === undefined) return refuse(wrongValue(where, text, EXPECTED));
  const rest = `${url.pathname === "/" ? "" : url.pathname}${url.search}${url.hash}`;
  const warnings = rest === "" ? [] : [`${where}: ${describeValue(rest)} is ignored: requests keep the visitor's path`];
  return { origin: { kind: "url", url: new URL(`${url.protocol}//${url.host}`) }, warnings };
}

function parseUrl(text: string): URL | undefined {
  let full = text;
  if (/^\d+$/.test(text)) full = `http://localhost:${text}`;
  else if (/^:\d+$/.test(text)) full = `http://localhost${text}`;
  // A bare IPv6 address has no brackets.
  else if (/^[\da-f]*:[\da-f:.]*:[\da-f:.]*$/i.test(text)) full = `http://[${text}]`;
  else if (!/^[a-z][a-z\d+.-]*:\/\//i.test(text)) full = `http://${text}`;
  if (!URL.canParse(full)) return undefined;
  const url = new URL(full);
  const usable = (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "" && url.port !== "0";
  return usable ? url : undefined;
}

/** An origin in cloudflared's notation, without a user name and password that its URL may hold; undefined for a handler in this process. */
export function serviceOf(service: Service): string | undefined {
  switch (service.kind) {
    case "url":
      return `${service.url.protocol}//${service.url.host}`;
    case "unix":
      return `unix${service.tls ? "+tls" : ""}:${service.path}`;
    case "status":
      return `http_status:${service.status}`;
    case "tcp":
      return `${service.scheme}://${service.host.includes(":") ? `[${service.host}]` : service.host}:${service.port}`;
    case "hello-world":
      return "hello_world";
    case "bastion":
    case "socks-proxy":
      return service.kind;
    case "failover":
      return service.origins.map((origin) => serviceOf(origin)).join(",");
    default:
      return undefined;
  }
}
