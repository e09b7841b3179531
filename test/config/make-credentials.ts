import { randomBytes, randomUUID } from "node:crypto";

export interface TestCredentials {
  readonly accountTag: string;
  /** 32 random bytes in padded base64. */
  readonly secret: string;
  readonly tunnelId: string;
  readonly token: string;
  /** Content of a credentials file. */
  readonly json: string;
}

/** Random credentials; `extra` fields go into the token's JSON. */
export function makeCredentials(extra: Readonly<Record<string, unknown>> = {}): TestCredentials {
  const accountTag = randomBytes(16).toString("hex");
  const secret = randomBytes(32).toString("base64");
  const tunnelId = randomUUID();
  return {
    accountTag,
    secret,
    tunnelId,
    token: encodeToken({ a: accountTag, s: secret, t: tunnelId, ...extra }),
    json: JSON.stringify({ AccountTag: accountTag, TunnelSecret: secret, TunnelID: tunnelId, Endpoint: "" }),
  };
}

export function encodeToken(content: unknown): string {
  return Buffer.from(JSON.stringify(content)).toString("base64");
}
