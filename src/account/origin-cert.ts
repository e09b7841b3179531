/**
 * cert.pem, as `cloudflared login` writes it (operations § 3): among blocks of PEM one of
 *
 *   -----BEGIN ARGO TUNNEL TOKEN-----   base64 of {"zoneID", "accountID", "apiToken", "endpoint"}
 */
import { UnderpassError } from "../errors.ts";
import { Secret } from "../config/secret.ts";

export interface OriginCert {
  readonly accountId: string;
  readonly apiToken: Secret<string>;
  /** `fed` = FedRAMP. */
  readonly endpoint: string | undefined;
}

/** The file holds no token that can be used. The message names no secret. */
export class OriginCertError extends UnderpassError {
  constructor(path: string, problem: string) {
    super("ERR_UNDERPASS_ORIGIN_CERT", `${path}: ${problem}`);
  }
}

const BLOCK = /-----BEGIN ([^-]+)-----([^-]*)-----END \1-----/g;
const TOKEN_BLOCK = "ARGO TUNNEL TOKEN";

/** Throws OriginCertError. */
export function readOriginCert(text: string, path: string): OriginCert {
  const tokens = [...text.matchAll(BLOCK)].filter(([, type]) => type === TOKEN_BLOCK);
  if (tokens.length !== 1) {
    throw new OriginCertError(path, `found ${tokens.length} blocks "${TOKEN_BLOCK}"; one would be right`);
  }
  const content = parse(Buffer.from(tokens[0]?.[2] ?? "", "base64").toString("utf8"));
  const accountId = content["accountID"];
  const apiToken = content["apiToken"];
  const endpoint = content["endpoint"];
  if (typeof accountId !== "string" || !/^[\w-]+$/.test(accountId))
    throw new OriginCertError(path, "it has no accountID");
  if (typeof apiToken !== "string" || !/^[\x21-\x7e]+$/.test(apiToken))
    throw new OriginCertError(path, "it has no apiToken");
  return {
    accountId,
    apiToken: new Secret(apiToken),
    endpoint: typeof endpoint === "string" && endpoint !== "" ? endpoint.toLowerCase() : undefined,
  };
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
