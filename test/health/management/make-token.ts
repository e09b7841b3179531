/** Access tokens as Cloudflare makes them; nobody but their maker knows the key. */
import { generateKeyPairSync, sign } from "node:crypto";

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

export interface TokenParts {
  readonly tunnelId: string;
  readonly accountTag?: string;
  readonly actor?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: Readonly<Record<string, unknown>>;
}

export function makeToken({ accountTag = "account", actor = "actor", claims, header, tunnelId }: TokenParts): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const expires = Math.floor(Date.now() / 1000) + 3600;
  const body = {
    tun: { id: tunnelId, account_tag: accountTag },
    actor: { id: actor, support: false },
    iss: "test",
    exp: expires,
  };
  const signed = `${encode({ alg: "ES256", ...header })}.${encode({ ...body, ...claims })}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}
