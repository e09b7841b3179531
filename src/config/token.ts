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

const KEYS = { account: "a", secret: "s", tunnel: "t", endpoint: "e" };
const PREFIX = "Provided Tunnel token is not valid";

/** Decodes a tunnel token; white space around it is ignored. The error says what is wrong without showing any of it. */
export function parseToken(token: string): TunnelCredentials {
  const text = token.trim();
  if (text === "") throw new CredentialsError(`${PREFIX}: it is empty`);
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw new CredentialsError(`${PREFIX}: ${notBase64(text)}`);
  let json: string;
  try {
    json = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    JSON.parse(json);
  } catch {
    throw new CredentialsError(`${PREFIX}: its content is not JSON; copy it again from the dashboard, as one line`);
  }
  return readCredentials(json, KEYS, PREFIX);
}

function notBase64(text: string): string {
  if (/\s/.test(text.replace(/[\r\n]/g, ""))) return "there is white space inside it; give the token alone";
  if (/[-_]/.test(text)) return "it is URL-safe base64 (- and _); standard base64 with padding would be right";
  if (/^[A-Za-z0-9+/=]*$/.test(text)) return "its base64 is cut off or has lost its padding; copy it again";
  return "it is not base64";
}
