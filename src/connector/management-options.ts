/** The library's options of the management service. */
import { DEFAULT_MANAGEMENT } from "../config/defaults.ts";
import { parseManagementHostname } from "../config/management.ts";
import type { ManagementConfig } from "../config/tunnel-config.ts";
import type { OptionChecks } from "./option-values.ts";

export interface ManagementOptions {
  /** Requests for it are the connector's own. Default `management.argotunnel.com`. */
  readonly hostname?: string;
  /** Whether metrics are told. Default true. */
  readonly diagnostics?: boolean;
  /** Shown in the place of this machine's name. */
  readonly label?: string;
}

const MANAGEMENT_OPTIONS: Readonly<Record<keyof ManagementOptions, true>> = {
  hostname: true,
  diagnostics: true,
  label: true,
};

export function readManagement(given: unknown, checks: OptionChecks): ManagementConfig | undefined {
  if (given === false) return undefined;
  const options = checks.table("management", given, Object.keys(MANAGEMENT_OPTIONS));
  const wanted = checks.text("management.hostname", options.hostname) ?? DEFAULT_MANAGEMENT.hostname;
  const hostname = parseManagementHostname(wanted);
  if (hostname === undefined) checks.wrong("management.hostname", wanted, 'a host name such as "logs.example.com"');
  return {
    ...DEFAULT_MANAGEMENT,
    hostname: hostname ?? DEFAULT_MANAGEMENT.hostname,
    diagnostics: checks.flag("management.diagnostics", options.diagnostics, DEFAULT_MANAGEMENT.diagnostics),
    label: checks.text("management.label", options.label),
  };
}
