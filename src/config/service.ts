/** One service for all requests, as people write it in `--url` or `local_addr`, or programs as `origin`. */
import { parseIngress } from "../proxy/ingress/parse.ts";
import { describeValue, looksSecret } from "../proxy/ingress/redact.ts";
import type { Service } from "../types.ts";
import type { Located } from "./config-file.ts";
import { ConfigError, wrongValue } from "./problem.ts";

/** Throws a ConfigError that says where it stands and what would be right. */
export function readService(given: Located<string>): { service: Service; warnings: readonly string[] } {
  const { service: text, warnings } = serviceText(given);
  const { ingress, problems } = parseIngress({ ingress: [{ service: text }] }, { readFile: String });
  const service = ingress?.rules[0]?.service;
  if (service === undefined) {
    throw new ConfigError(problems.map((problem) => ({ where: given.where, text: withoutRule(problem.text) })));
  }
  return { service, warnings };
}

/** There is only one rule, and nobody has written it as one. */
export function withoutRule(text: string): string {
  return text.replace(/^rule 1: /, "");
}

/**
 * The service as a rule would name it: a port, an address or a host alone are http. A path and what follows it are dropped,
 * as in cloudflared, because requests keep the visitor's; with a warning.
 */
export function serviceText({ value, where }: Located<string>): { service: string; warnings: readonly string[] } {
  if (isMisplacedSecret(value))
    throw new ConfigError([wrongValue(where, value, "an http or https URL, host:port, or a port")]);
  const text = withScheme(value.trim());
  const parts = /^([a-z][a-z\d+.-]*:\/\/)(?:[^/?#]*@)?([^/?#]*)(.*)$/is.exec(text);
  if (parts === null || /^unix/i.test(text)) return { service: text, warnings: [] };
  const [, scheme = "", authority = "", rest = ""] = parts;
  const warnings =
    rest === "" || rest === "/"
      ? []
      : [`${where}: ${describeValue(rest)} is ignored: requests keep the visitor's path`];
  return { service: `${scheme}${authority}`, warnings };
}

/** A token or secret that was pasted here would be taken apart as host and path, and its parts quoted. */
function isMisplacedSecret(value: string): boolean {
  return !value.includes("://") && /[+/=]|^eyJ/.test(value) && looksSecret(value.trim());
}

function withScheme(text: string): string {
  if (/^\d+$/.test(text)) return `http://localhost:${text}`;
  if (/^:\d+$/.test(text)) return `http://localhost${text}`;
  // A bare IPv6 address has no brackets.
  if (/^[\da-f]*:[\da-f:.]*:[\da-f:.]*$/i.test(text)) return `http://[${text}]`;
  const isService =
    /^[a-z][a-z\d+.-]*:\/\/|^(?:unix|unix\+tls|http_status|handler):|^(?:hello[-_]world|bastion|socks-proxy)$/i;
  return text === "" || isService.test(text) ? text : `http://${text}`;
}

/** A service in cloudflared's notation, without a user name and password that its URL may hold; undefined for a handler in this process. */
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
