/** The library's options of the health check. */
import { defaultTunnelConfig } from "../config/defaults.ts";
import { serviceToken } from "../config/health-check.ts";
import type { HealthCheckConfig, ServiceToken } from "../config/tunnel-config.ts";
import type { TunnelRuntime } from "./api.ts";
import type { OptionChecks } from "./option-values.ts";

export interface HealthCheckOptions {
  /** Milliseconds between two checks. Default 30,000. */
  readonly interval?: number;
  /** Failed checks in a row that restart the tunnel. Default 3. */
  readonly maxFailures?: number;
  /** Path of the GET on the public hostname. Default `/`. */
  readonly path?: string;
  /** Service token of Cloudflare Access, which lets the GET through. */
  readonly serviceToken?: { readonly clientId: string; readonly clientSecret: string };
  /** Whether the check connects to the origins, too. Default false. */
  readonly origins?: boolean;
  /** What the GET asks for, in place of the public hostname with `path`. */
  readonly url?: string | URL;
  /** Resolver of the GET, as `net.connect` takes it. Default: the system's. */
  readonly lookup?: NonNullable<TunnelRuntime["probeLookup"]>;
  /** Replaces the GET: resolves with the answer, or rejects when there is none. */
  readonly probe?: NonNullable<TunnelRuntime["probe"]>;
}

const HEALTH_OPTIONS: Readonly<Record<keyof HealthCheckOptions, true>> = {
  interval: true,
  maxFailures: true,
  path: true,
  origins: true,
  serviceToken: true,
  url: true,
  lookup: true,
  probe: true,
};

export function readHealthCheck(given: unknown, checks: OptionChecks): HealthCheckConfig {
  const fallback = defaultTunnelConfig.healthCheck;
  const options = given === false ? {} : checks.table("healthCheck", given, Object.keys(HEALTH_OPTIONS));
  const path = checks.text("healthCheck.path", options.path) ?? fallback.path;
  if (!/^\/[\x21-\x7e]*$/.test(path)) checks.wrong("healthCheck.path", path, "a path such as /health");
  const intervalMs = checks.milliseconds("healthCheck.interval", options.interval, fallback.intervalMs, 1);
  return {
    intervalMs: given === false ? 0 : intervalMs,
    maxFailures: checks.whole("healthCheck.maxFailures", options.maxFailures, fallback.maxFailures, 1, 1_000_000),
    path,
    origins: checks.flag("healthCheck.origins", options.origins, fallback.origins),
    serviceToken: readServiceToken(options.serviceToken, checks),
  };
}

function readServiceToken(given: unknown, checks: OptionChecks): ServiceToken | undefined {
  if (given === undefined) return undefined;
  const { clientId, clientSecret } = checks.table("healthCheck.serviceToken", given, ["clientId", "clientSecret"]);
  const token =
    typeof clientId === "string" && typeof clientSecret === "string" ? serviceToken(clientId, clientSecret) : undefined;
  if (token === undefined) {
    checks.wrong(
      "healthCheck.serviceToken",
      "[redacted]",
      "{ clientId, clientSecret } of a service token of Cloudflare Access",
    );
  }
  return token;
}
