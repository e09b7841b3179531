/** Which tunnel: token, credentials, and the order in which their sources count. */
import { UnderpassError } from "../errors.ts";
import { CredentialsError, parseCredentials } from "./credentials.ts";
import { expandHome, findCredentials } from "./files.ts";
import type { Environment } from "./interpolate.ts";
import type { MergedSettings } from "./merged.ts";
import { ConfigError, type ConfigProblem } from "./problem.ts";
import { exposureOf, readSecretFile } from "./secret-file.ts";
import type { Setting } from "./settings.ts";
import { isTokenLike, parseToken, TOKEN_ADVICE } from "./token.ts";
import type { TunnelCredentials } from "./tunnel-config.ts";
import { parseUuid } from "./uuid.ts";

/** The command line asks for something that can't be: what cloudflared calls a usage error. */
export class UsageError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_USAGE", message);
  }
}

/**
 * The setting that gives the token or names its file, if any: flag before environment before file, and within the
 * environment TUNNEL_TOKEN, TUNNEL_TOKEN_FILE, CLOUDFLARE_TUNNEL_TOKEN. An empty `--token` means none.
 */
export function findTokenSource(settings: MergedSettings): Setting | undefined {
  const { flags, environment, file } = settings;
  const ofEnvironment = environment.get("token");
  const sources = [
    flags.get("token"),
    flags.get("token-file"),
    ...(flags.get("token")?.value === ""
      ? []
      : [
          ...(ofEnvironment?.where === "TUNNEL_TOKEN" ? [ofEnvironment] : []),
          environment.get("token-file"),
          ofEnvironment,
          file?.layer.get("token"),
          file?.layer.get("token-file"),
        ]),
  ];
  return sources.find((source) => source !== undefined && source.value !== "");
}

/**
 * Credentials of a named tunnel, or undefined when nothing names one. `tunnelRef` is the tunnel given as argument.
 * cloudflared does not know CLOUDFLARE_TUNNEL_TOKEN: under `underpass tunnel` a tunnel that was named counts before it.
 */
export function findCredentialsOf(
  settings: MergedSettings,
  tunnelRef: string | undefined,
  env: Environment,
  cloudflaredOrder: boolean,
  warnings: string[] = [],
): TunnelCredentials | undefined {
  const ref = tunnelRef ?? settings.file?.tunnel?.value;
  const source = findTokenSource(settings);
  const refFirst = cloudflaredOrder && ref !== undefined && source?.where === "CLOUDFLARE_TUNNEL_TOKEN";
  if (source !== undefined && !refFirst) {
    if (source.source === "file" && source.name === "token") warnings.push(...exposureOfConfig(settings, env));
    return credentialsOfToken(source, env, warnings);
  }

  const contents = settings.get("credentials-contents");
  const file = settings.get("credentials-file");
  const uuid = ref === undefined ? undefined : parseUuid(ref);
  if (typeof contents?.value === "string") return parseCredentials(contents.value, contents.where, uuid);
  if (typeof file?.value === "string") {
    return parseCredentials(readSecretFile(file.value, file.where, env, warnings), file.value, uuid);
  }
  if (ref === undefined) return undefined;
  if (uuid === undefined) {
    const where = tunnelRef === undefined ? (settings.file?.tunnel?.where ?? "") : "";
    const text = isTokenLike(ref)
      ? `found a token where a tunnel's UUID is wanted; ${TOKEN_ADVICE}`
      : "finding a tunnel by its name is not there yet; its UUID, or --credentials-file, would be right";
    throw new ConfigError([{ where, text }]);
  }
  const path = findCredentials(uuid, settings.string("origincert"), env);
  if (path === undefined) {
    throw new ConfigError([
      {
        where: "",
        text: `tunnel credentials file not found: no ${uuid}.json in the usual places; give --credentials-file`,
      },
    ]);
  }
  return parseCredentials(readSecretFile(path, "credentials file", env, warnings), path, uuid);
}

/** A configuration file that holds the token is a secret, too. */
function exposureOfConfig(settings: MergedSettings, env: Environment): readonly string[] {
  const path = settings.file?.path;
  return path === undefined ? [] : exposureOf(expandHome(path, env), "token", env);
}

/** What to tell who has given the token as an argument. */
export function hintOnToken(settings: MergedSettings): readonly string[] {
  const given = settings.flags.get("token");
  if (given === undefined || given.value === "") return [];
  return [
    "--token can be read in the list of processes by every user of this machine: --token-file, or TUNNEL_TOKEN, keeps it out",
  ];
}

/** What is at odds about where secrets are read. */
export function checkStdin(settings: MergedSettings): readonly ConfigProblem[] {
  const control = settings.get("stdin-control");
  const taken = ["token-file", "credentials-file", "service-token-file"]
    .map((name) => settings.get(name))
    .filter((setting) => setting?.value === "-" || setting?.value === "fd:0" || setting?.value === "/dev/stdin");
  const where = taken.map((setting) => setting?.where).join(", ");
  if (taken.length > 1) return [{ where, text: "stdin holds one of them; a file for the others would be right" }];
  if (taken.length === 0 || control?.value !== true) return [];
  return [
    { where, text: `stdin can't hold a secret and take commands (${control.where}); a file or fd:3 would be right` },
  ];
}

function credentialsOfToken(source: Setting, env: Environment, warnings: string[]): TunnelCredentials {
  const value = String(source.value);
  try {
    return parseToken(source.name === "token" ? value : readSecretFile(value, source.where, env, warnings));
  } catch (error) {
    if (error instanceof CredentialsError) throw new UsageError(`${source.where}: ${error.message}`);
    if (error instanceof ConfigError) {
      const reasons = error.problems.map(({ text }) => text).join("; ");
      throw new UsageError(`${source.where}: Failed to read token file: ${reasons}`);
    }
    throw error;
  }
}
