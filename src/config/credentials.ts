/** Tunnel credentials: what a token (config/token.ts) and a credentials file hold (wire § 1). */
import { UnderpassError } from "../errors.ts";
import { decodeBase64 } from "./base64.ts";
import { Secret } from "./secret.ts";
import type { TunnelCredentials } from "./tunnel-config.ts";
import { parseUuid } from "./uuid.ts";

/** A token or credentials file that can't be used. Never shows any of it. */
export class CredentialsError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_CREDENTIALS", message);
  }
}

/** Names of the fields in one spelling of the credentials. */
export interface CredentialKeys {
  readonly account: string;
  readonly secret: string;
  readonly tunnel: string;
  readonly endpoint: string;
}

const FILE_KEYS: CredentialKeys = {
  account: "AccountTag",
  secret: "TunnelSecret",
  tunnel: "TunnelID",
  endpoint: "Endpoint",
};

/**
 * Reads a credentials file's JSON. `tunnelId` is the id that was asked for: it overrides the file's (wire § 1.2).
 * `source` names the file in errors.
 */
export function parseCredentials(json: string, source: string, tunnelId?: string): TunnelCredentials {
  return readCredentials(json, FILE_KEYS, source, tunnelId);
}

/** Reads `{account, secret, tunnel id, endpoint?}` under the given keys. Unknown keys are ignored, key case too. */
export function readCredentials(
  json: string,
  keys: CredentialKeys,
  source: string,
  tunnelId?: string,
): TunnelCredentials {
  const field = fieldsOf(json, source);
  const fail = (key: string, expected: string): never => {
    const found = field(key) === undefined ? "is missing" : "is wrong";
    throw new CredentialsError(`${source}: its field "${key}" ${found}; ${expected} would be right`);
  };
  const accountTag = field(keys.account);
  if (typeof accountTag !== "string" || accountTag === "") return fail(keys.account, "the account's tag");
  const encoded = field(keys.secret);
  const secret = typeof encoded === "string" ? decodeBase64(encoded) : undefined;
  if (secret === undefined || secret.length === 0) return fail(keys.secret, "the tunnel's secret in padded base64");
  const id = tunnelId ?? field(keys.tunnel);
  const uuid = typeof id === "string" ? parseUuid(id) : undefined;
  if (uuid === undefined) return fail(keys.tunnel, "the tunnel's UUID");
  const endpoint = field(keys.endpoint);
  if (endpoint !== undefined && endpoint !== null && typeof endpoint !== "string") {
    return fail(keys.endpoint, 'a text such as "fed"');
  }
  return {
    accountTag,
    tunnelSecret: new Secret(secret),
    tunnelId: uuid,
    endpoint: endpoint === null || endpoint === "" ? undefined : endpoint,
  };
}

function fieldsOf(json: string, source: string): (key: string) => unknown {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // The parser's own message quotes the text around the error: no cause.
    throw new CredentialsError(`${source}: is not valid JSON; {"AccountTag": …, "TunnelSecret": …} would be right`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CredentialsError(`${source}: is not a JSON object`);
  }
  const entries = Object.entries(value);
  // Go's decoder prefers the exact spelling and then takes any case.
  return (key) =>
    (entries.find(([name]) => name === key) ?? entries.find(([name]) => name.toLowerCase() === key.toLowerCase()))?.[1];
}
