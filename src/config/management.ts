/** Settings of the management service: how Cloudflare's dashboard and `tail` reach the connector through its tunnel. */
import { wrongValue } from "./problem.ts";
import { type Findings, isIpPort } from "./edge-settings.ts";
import type { MergedSettings } from "./merged.ts";
import type { ManagementConfig } from "./tunnel-config.ts";

/** Of the host name, lower case and without its port; undefined where the text is none. */
export function parseManagementHostname(text: string): string | undefined {
  return /^([a-z\d](?:[a-z\d.-]*[a-z\d])?)(?::\d{1,5})?$/i.exec(text)?.[1]?.toLowerCase();
}

export function readManagement(
  settings: MergedSettings,
  fallback: ManagementConfig,
  { problems }: Findings,
): ManagementConfig | undefined {
  const service = settings.get("service-op-ip");
  if (service !== undefined && !isIpPort(String(service.value))) {
    problems.push(wrongValue(service.where, service.value, 'ip:port such as "198.41.200.113:80", IPv6 in brackets,'));
  }
  const chosen = settings.get("management-hostname");
  if (chosen?.value === "off") return undefined;
  const hostname = chosen === undefined ? fallback.hostname : parseManagementHostname(String(chosen.value));
  if (hostname === undefined) {
    const expected = 'a host name such as "management.argotunnel.com", or off';
    problems.push(wrongValue(chosen?.where ?? "", chosen?.value, expected));
    return undefined;
  }
  return {
    hostname,
    diagnostics: settings.get("management-diagnostics") === undefined ? true : settings.bool("management-diagnostics"),
    label: settings.string("label"),
    serviceAddress: settings.string("service-op-ip") ?? fallback.serviceAddress,
  };
}
