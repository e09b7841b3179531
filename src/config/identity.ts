/** Which tunnel: token, credentials, and the order in which their sources count. */
import { UnderpassError } from "../errors.ts";
import { CredentialsError, parseCredentials } from "./credentials.ts";
import { expandHome, findCredentials, readTextFile } from "./files.ts";
import type { Environment } from "./interpolate.ts";
import type { MergedSettings } from "./merged.ts";
import { ConfigError } from "./problem.ts";
import type { Setting } from "./settings.ts";
import { parseToken } from "./token.ts";
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
): TunnelCredentials | undefined {
  const ref = tunnelRef ?? settings.file?.tunnel?.value;
  const source = findTokenSource(settings);
  const refFirst = cloudflaredOrder && ref !== undefined && source?.where === "CLOUDFLARE_TUNNEL_TOKEN";
  if (source !== undefined && !refFirst) return credentialsOfToken(source, env);

  const contents = settings.get("credentials-contents");
  const file = settings.get("credentials-file");
  const uuid = ref === undefined ? undefined : parseUuid(ref);
  if (typeof contents?.value === "string") return parseCredentials(contents.value, contents.where, uuid);
  if (typeof file?.value === "string") {
    return parseCredentials(readTextFile(expandHome(file.value, env), file.where), file.value, uuid);
  }
  if (ref === undefined) return undefined;
  if (uuid === undefined) {
    throw new ConfigError([
      {
        where: settings.file?.tunnel?.where ?? "",
        text: "finding a tunnel by its name is not there yet; its UUID, or --credentials-file, would be right",
      },
    ]);
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
  return parseCredentials(readTextFile(path, ""), path, uuid);
}

function credentialsOfToken(source: Setting, env: Environment): TunnelCredentials {
  try {
    const value = String(source.value);
    return parseToken(source.name === "token" ? value : readTextFile(expandHome(value, env), ""));
  } catch (error) {
    if (error instanceof CredentialsError) throw new UsageError(`${source.where}: ${error.message}`);
    if (error instanceof ConfigError)
      throw new UsageError(`${source.where}: Failed to read token file: ${error.message}`);
    throw error;
  }
}
