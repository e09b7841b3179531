/** The settings of the health check, checked. */
import { defaultTunnelConfig } from "./defaults.ts";
import type { Findings } from "./edge-settings.ts";
import type { Environment } from "./interpolate.ts";
import type { MergedSettings } from "./merged.ts";
import { collect, type ConfigProblem, wrongValue } from "./problem.ts";
import { readSecretFile } from "./secret-file.ts";
import { Secret } from "./secret.ts";
import type { HealthCheckConfig, ServiceToken } from "./tunnel-config.ts";

export function readHealthCheck(settings: MergedSettings, env: Environment, findings: Findings): HealthCheckConfig {
  const { problems } = findings;
  const fallback = defaultTunnelConfig.healthCheck;
  const path = settings.get("health-check-path");
  if (path !== undefined && !/^\/[\x21-\x7e]*$/.test(String(path.value))) {
    problems.push(wrongValue(path.where, path.value, "a path such as /health"));
  }
  return {
    intervalMs: settings.number("health-check-interval", fallback.intervalMs),
    maxFailures: settings.number("max-failures", fallback.maxFailures),
    path: settings.string("health-check-path") ?? fallback.path,
    serviceToken: readServiceToken(settings, env, findings),
    origins: settings.bool("health-check-origins"),
  };
}

/** Id and secret by themselves count before a file with both, and flags before the environment. */
function readServiceToken(settings: MergedSettings, env: Environment, findings: Findings): ServiceToken | undefined {
  const { problems, warnings } = findings;
  const id = settings.get("service-token-id");
  const secret = settings.get("service-token-secret");
  const file = settings.get("service-token-file");
  const isFlag = [id, secret].some((setting) => setting?.source === "flag");
  if (file?.source === "flag" && !isFlag) return readFile(file, env, findings);
  if (id === undefined && secret === undefined) return file === undefined ? undefined : readFile(file, env, findings);
  if (file !== undefined) warnings.push(`${file.where} is not read: ${(id ?? secret)?.where} counts before it`);
  const given = serviceToken(String(id?.value ?? ""), String(secret?.value ?? ""));
  if (given !== undefined) return given;
  const where = [id?.where, secret?.where].filter((one) => one !== undefined).join(", ");
  const found = id === undefined ? "no id" : secret === undefined ? "no secret" : "odd characters";
  // The environment may be meant for another program.
  const isStray = [id, secret].every((setting) => setting === undefined || setting.source === "environment");
  if (isStray) warnings.push(`${where}: a service token with ${found} is not used`);
  else problems.push(incomplete(where, found));
  return undefined;
}

function readFile(
  { value, where }: { readonly value: unknown; readonly where: string },
  env: Environment,
  { problems, warnings }: Findings,
): ServiceToken | undefined {
  const path = String(value);
  const text = collect(problems, () => readSecretFile(path, where, env, warnings));
  if (text === undefined) return undefined;
  const token = parseServiceToken(text);
  if (token === undefined) {
    problems.push({
      where,
      text: `${path} holds no service token; the lines "CF-Access-Client-Id: …" and "CF-Access-Client-Secret: …", or JSON with "client_id" and "client_secret", would be right`,
    });
  }
  return token;
}

/** The two headers as Cloudflare's dashboard shows them, or what its API answers. */
function parseServiceToken(text: string): ServiceToken | undefined {
  const line = (name: string): string => new RegExp(`^\\s*${name}\\s*[:=]\\s*(\\S+)\\s*$`, "im").exec(text)?.[1] ?? "";
  const member = (name: string): string => new RegExp(`"${name}"\\s*:\\s*"([^"]*)"`).exec(text)?.[1] ?? "";
  return (
    serviceToken(line("CF-Access-Client-Id"), line("CF-Access-Client-Secret")) ??
    serviceToken(member("client_id"), member("client_secret"))
  );
}

/** Undefined where one is missing, or can't stand in a header. */
export function serviceToken(clientId: string, clientSecret: string): ServiceToken | undefined {
  const isValue = (text: string): boolean => /^[\x21-\x7e]+$/.test(text);
  if (!isValue(clientId) || !isValue(clientSecret)) return undefined;
  return { clientId, clientSecret: new Secret(clientSecret) };
}

function incomplete(where: string, found: string): ConfigProblem {
  return {
    where,
    text: `found a service token with ${found}; --service-token-id with --service-token-secret, or --service-token-file, would be right`,
  };
}
