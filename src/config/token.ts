/**
 * The tunnel token: standard padded base64 of
 *
 *     {"a": account tag, "s": base64 of the secret, "t": tunnel UUID, "e": endpoint (optional)}
 *
 * (wire § 1.1). Stricter than cloudflared in one thing: a token without account, secret or tunnel is refused here
 * instead of by the edge.
 */
import { decodeBase64 } from "./base64.ts";
import { CredentialsError, readCredentials } from "./credentials.ts";
import type { TunnelCredentials } from "./tunnel-config.ts";
import { parseUuid } from "./uuid.ts";

const KEYS = { account: "a", secret: "s", tunnel: "t", endpoint: "e" };
const PREFIX = "Provided Tunnel token is not valid";
const HINT =
  "a token is one line that begins with eyJ, from the command by which the dashboard has a connector installed, or of `cloudflared tunnel token NAME`";

/** What to do with a token that was given in the place of something else. */
export const TOKEN_ADVICE =
  "a token is given by --token-file FILE or the variable TUNNEL_TOKEN, or as cloudflared's --token, which every user of this machine can read";

/** Whether it is a token rather than the name of something; whole or not. */
export function isTokenLike(text: string): boolean {
  return /^\s*eyJ[A-Za-z0-9+/_-]{20,}=*\s*$/.test(text);
}

/** Decodes a tunnel token; white space around it is ignored. The error says what is wrong without showing any of it. */
export function parseToken(token: string): TunnelCredentials {
  const text = token.trim();
  const other = nameOther(text);
  if (other !== undefined) throw invalid(other);
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw invalid(notBase64(text));
  let json: string;
  let content: unknown;
  try {
    json = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    content = JSON.parse(json);
  } catch {
    throw invalid("its content is not JSON, as if a part were missing");
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw invalid("its content is not a JSON object");
  }
  try {
    return readCredentials(json, KEYS, PREFIX);
  } catch (error) {
    throw error instanceof CredentialsError ? new CredentialsError(`${error.message}; ${HINT}`) : error;
  }
}

function invalid(reason: string): CredentialsError {
  return new CredentialsError(`${PREFIX}: ${reason}; ${HINT}`);
}

/** What has been taken for the token. */
function nameOther(text: string): string | undefined {
  if (text === "") return "it is empty";
  if (parseUuid(text) !== undefined) return "it is the id of a tunnel, not its token";
  if (text.startsWith("{")) return "it is JSON, as a credentials file has it (--credentials-file), and not base64";
  // Base64 of an object begins with none of these.
  if (/^(?:[/.~]|[a-z]:\\)/i.test(text)) return "it looks like the path of a file (--token-file)";
  return undefined;
}

function notBase64(text: string): string {
  if (/\s/.test(text.replace(/[\r\n]/g, ""))) return "there is white space inside it; give the token alone";
  if (/[-_]/.test(text)) return "it is URL-safe base64 (- and _); standard base64 with padding would be right";
  if (!/^[A-Za-z0-9+/=\r\n]*$/.test(text)) return "it is not base64";
  if (!text.startsWith("ey")) return "it is not the base64 of JSON, or its beginning is missing";
  return `its base64 is cut off or has lost its padding: found ${text.replace(/[\r\n]/g, "").length} characters, a multiple of 4 would be right`;
}
