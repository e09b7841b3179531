/** A team of Cloudflare Access on loopback: keys made at run time, tokens signed with them, and the server that publishes the keys. */
import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import http from "node:http";
import { type JWTHeaderParameters, SignJWT } from "jose";
import type { AccessOptions } from "../../../src/proxy/access/key-sets.ts";
import type { AccessPolicy } from "../../../src/types.ts";
import { type Cleanup, listen, portOf } from "../harness.ts";

export const AUDIENCE = "a".repeat(64);

export const POLICY: AccessPolicy = { required: true, teamName: "acme", audTag: [AUDIENCE, "other"], environment: "" };

export const ISSUER = "https://acme.cloudflareaccess.com";

export class SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;

  constructor(bits = 2048, kid: string = randomUUID()) {
    this.kid = kid;
    ({ privateKey: this.privateKey, publicKey: this.publicKey } = generateKeyPairSync("rsa", { modulusLength: bits }));
  }

  get jwk(): Record<string, unknown> {
    return { ...this.publicKey.export({ format: "jwk" }), kid: this.kid, use: "sig", alg: "RS256" };
  }
}

/** Making one takes a tenth of a second. */
export const keys = { first: new SigningKey(), second: new SigningKey(), stranger: new SigningKey() };

/** In seconds. */
export function inSeconds(seconds: number, now = Date.now()): number {
  return Math.floor(now / 1_000) + seconds;
}

export type ClaimChanges = Readonly<Record<string, unknown>>;

/** A good one, but for what `changes` says; undefined leaves a claim out. */
export function sign(
  changes: ClaimChanges = {},
  key = keys.first,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const claims = {
    iss: ISSUER,
    aud: [AUDIENCE],
    exp: inSeconds(600),
    iat: inSeconds(-5),
    nbf: inSeconds(-5),
    sub: randomUUID(),
    ...changes,
  };
  const { kid } = key;
  return new SignJWT(claims).setProtectedHeader({ alg: "RS256", typ: "JWT", kid, ...header }).sign(key.privateKey);
}

export class Team {
  readonly server: http.Server;
  published: readonly SigningKey[] = [keys.first];
  /** How often the keys were asked for. */
  asked = 0;
  /** Headers of the last time. */
  headers: http.IncomingHttpHeaders = {};
  /** In place of the keys. */
  answer: http.RequestListener | undefined;
  now = Date.now;

  constructor() {
    this.server = http.createServer((request, response) => {
      this.asked++;
      this.headers = request.headers;
      if (this.answer === undefined) response.end(JSON.stringify(this.document));
      else this.answer(request, response);
    });
  }

  /** As Access has it: more members than the keys. */
  get document(): Record<string, unknown> {
    return { keys: this.published.map(({ jwk }) => jwk), public_cert: { kid: "", cert: "" }, public_certs: [] };
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${portOf(this.server)}/cdn-cgi/access/certs`);
  }

  get options(): AccessOptions {
    return { certsUrl: () => this.url, now: () => this.now() };
  }
}

export async function openTeam(cleanup: Cleanup): Promise<Team> {
  const team = new Team();
  await listen(team.server);
  return cleanup.add(team, ({ server }) => {
    server.closeAllConnections();
    server.close();
  });
}
