import { createHmac } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { AccessDenialReason } from "../../../src/proxy/access/errors.ts";
import { KeySets } from "../../../src/proxy/access/key-sets.ts";
import { Validator } from "../../../src/proxy/access/validator.ts";
import { OpenConnections } from "../../../src/proxy/open-connections.ts";
import type { AccessPolicy } from "../../../src/types.ts";
import { Cleanup } from "../harness.ts";
import { type ClaimChanges, inSeconds, ISSUER, keys, openTeam, POLICY, sign, SigningKey, type Team } from "./team.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const silent = { debug() {}, info() {}, warn() {}, error() {} };

function validatorOf(team: Team, policy: AccessPolicy = POLICY): Validator {
  const validator = Validator.create(policy, new KeySets(team.options, new OpenConnections(), silent));
  if (validator === undefined) throw new Error("the policy lets nobody in");
  return cleanup.add(validator, (each) => each.close());
}

async function reasonOf(validator: Validator, token: string): Promise<AccessDenialReason | "passes"> {
  return (await validator.verify(token))?.reason ?? "passes";
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const claims = () => ({ iss: ISSUER, aud: POLICY.audTag[0], exp: inSeconds(600) });

describe("tokens that pass", () => {
  const cases: [string, ClaimChanges][] = [
    ["an audience among others", { aud: ["x", "other"] }],
    ["an audience that is no list", { aud: "other" }],
    ["no nbf and no iat", { nbf: undefined, iat: undefined }],
    ["a clock that is slow by less than five minutes", { nbf: inSeconds(290), iat: inSeconds(290) }],
    ["the last seconds of its life", { exp: inSeconds(5) }],
    ["fractions of seconds", { exp: inSeconds(5) + 0.5, nbf: inSeconds(-5) - 0.5 }],
  ];
  it.each(cases)("%s", async (_name, changes) => {
    const validator = validatorOf(await openTeam(cleanup));
    expect(await reasonOf(validator, await sign(changes))).toBe("passes");
  });

  it("has the issuer of FedRAMP teams", async () => {
    const validator = validatorOf(await openTeam(cleanup), { ...POLICY, environment: "fed" });
    expect(await reasonOf(validator, await sign({ iss: "https://acme.fed.cloudflareaccess.com" }))).toBe("passes");
    expect(await reasonOf(validator, await sign())).toBe("issuer");
  });

  it("has the team's name in lower case", async () => {
    const validator = validatorOf(await openTeam(cleanup), { ...POLICY, teamName: "ACME" });
    expect(await reasonOf(validator, await sign())).toBe("passes");
  });
});

describe("tokens that do not pass", () => {
  const claimed: [string, AccessDenialReason, ClaimChanges][] = [
    ["another team", "issuer", { iss: "https://acme2.cloudflareaccess.com" }],
    ["the issuer with a slash", "issuer", { iss: `${ISSUER}/` }],
    ["no issuer", "issuer", { iss: undefined }],
    ["another audience", "audience", { aud: ["x"] }],
    ["the beginning of an audience", "audience", { aud: "othe" }],
    ["no audience", "audience", { aud: undefined }],
    ["an empty list of audiences", "audience", { aud: [] }],
    ["expired just now", "expired", { exp: inSeconds(0) }],
    ["expired long ago", "expired", { exp: 1 }],
    ["no expiry", "malformed", { exp: undefined }],
    ["not before later", "not-yet-valid", { nbf: inSeconds(310) }],
    ["issued later", "not-yet-valid", { iat: inSeconds(310) }],
  ];
  it.each(claimed)("%s: %s", async (_name, reason, changes) => {
    const team = await openTeam(cleanup);
    const validator = validatorOf(team);
    expect(await reasonOf(validator, await sign(changes))).toBe(reason);
    expect(team.asked).toBe(0);
  });

  const misformed: [string, AccessDenialReason, ClaimChanges][] = [
    ["an expiry in words", "malformed", { ...claims(), exp: "2100-01-01" }],
    ["nbf in words", "malformed", { ...claims(), nbf: "now" }],
    ["an issuer in a list", "issuer", { ...claims(), iss: [ISSUER] }],
    ["audiences in lists", "audience", { ...claims(), aud: [["other"]] }],
  ];
  it.each(misformed)("%s: %s", async (_name, reason, payload) => {
    const [, , signature] = (await sign()).split(".");
    const token = `${encode({ alg: "RS256", kid: keys.first.kid })}.${encode(payload)}.${signature}`;
    expect(await reasonOf(validatorOf(await openTeam(cleanup)), token)).toBe(reason);
  });

  it("is no JSON number: an expiry beyond all numbers", async () => {
    const payload = Buffer.from(`{"iss":"${ISSUER}","aud":"other","exp":1e999}`).toString("base64url");
    const token = `${encode({ alg: "RS256", kid: keys.first.kid })}.${payload}.AA`;
    expect(await reasonOf(validatorOf(await openTeam(cleanup)), token)).toBe("malformed");
  });

  it("signed by no algorithm, or by another one", async () => {
    const validator = validatorOf(await openTeam(cleanup));
    const { kid } = keys.first;
    const payload = encode(claims());
    const unsigned = ["none", "None", "", undefined, null, 0, ["RS256"], "RS384", "PS256", "ES256"];
    for (const alg of unsigned) {
      expect(await reasonOf(validator, `${encode({ alg, kid })}.${payload}.`), String(alg)).toBe("algorithm");
    }
    // The public key taken for a secret (CVE-2015-9235).
    const signed = `${encode({ alg: "HS256", kid })}.${payload}`;
    const { publicKey } = keys.first;
    const pem = publicKey.export({ type: "spki", format: "pem" });
    for (const secret of [pem, publicKey.export({ type: "spki", format: "der" }), JSON.stringify(keys.first.jwk)]) {
      const mac = createHmac("sha256", secret).update(signed).digest("base64url");
      expect(await reasonOf(validator, `${signed}.${mac}`)).toBe("algorithm");
    }
  });

  it("signed by somebody else, under the name of the team's key", async () => {
    const validator = validatorOf(await openTeam(cleanup));
    const { kid } = keys.first;
    expect(await reasonOf(validator, await sign({}, keys.stranger, { kid }))).toBe("signature");
  });

  it("brings its own key along", async () => {
    const validator = validatorOf(await openTeam(cleanup));
    const { jwk, kid } = keys.stranger;
    const jku = "http://127.0.0.1:1/";
    expect(await reasonOf(validator, await sign({}, keys.stranger, { jwk, jku, kid: keys.first.kid }))).toBe(
      "signature",
    );
    expect(await reasonOf(validator, await sign({}, keys.stranger, { jwk, jku, kid }))).toBe("unknown-key");
  });

  it("changed after it was signed", async () => {
    const validator = validatorOf(await openTeam(cleanup));
    const [header = "", payload = "", signature = ""] = (await sign()).split(".");
    const other = encode({ ...claims(), email: "other@example.com" });
    expect(await reasonOf(validator, `${header}.${other}.${signature}`)).toBe("signature");
    const flipped = Buffer.from(signature, "base64url");
    flipped.writeUInt8(flipped.readUInt8(9) ^ 1, 9);
    expect(await reasonOf(validator, `${header}.${payload}.${flipped.toString("base64url")}`)).toBe("signature");
    expect(await reasonOf(validator, `${header}.${payload}.`)).toBe("signature");
  });

  it("names no key, or one that the team does not have", async () => {
    const team = await openTeam(cleanup);
    const validator = validatorOf(team);
    for (const kid of [undefined, "", "x", "__proto__", "constructor", 7]) {
      const changed = { kid } as { kid: string };
      expect(await reasonOf(validator, await sign({}, keys.first, changed)), String(kid)).toBe("unknown-key");
    }
    expect(team.asked).toBe(1);
  });

  it("asks for something that nobody understands", async () => {
    const validator = validatorOf(await openTeam(cleanup));
    const [, payload, signature] = (await sign()).split(".");
    const { kid } = keys.first;
    const critical = [{ crit: ["x"], x: 1 }, { crit: [] }, { crit: 1 }];
    for (const extra of critical) {
      const token = `${encode({ alg: "RS256", kid, ...extra })}.${payload}.${signature}`;
      expect(await reasonOf(validator, token), JSON.stringify(extra)).toBe("malformed");
    }
  });

  it("is no token", async () => {
    const team = await openTeam(cleanup);
    const validator = validatorOf(team);
    const good = await sign();
    const [header, payload, signature] = good.split(".");
    const none = [
      "x",
      ".",
      "..",
      "...",
      `${header}.${payload}`,
      `${good}.`,
      `${good}.x.y`,
      `Bearer ${good}`,
      `${header}..${signature}`,
      `.${payload}.${signature}`,
      `${header}.${encode([])}.${signature}`,
      `${header}.${encode("x")}.${signature}`,
      `${header}.${encode(null)}.${signature}`,
      `${encode([])}.${payload}.${signature}`,
      `${encode(null)}.${payload}.${signature}`,
      `${header}.${Buffer.from("{").toString("base64url")}.${signature}`,
      `${header}.${Buffer.from([0xff, 0xfe]).toString("base64url")}.${signature}`,
      `${header}.%%%.${signature}`,
      `${header}.${payload}.%%%`,
      "é".repeat(100),
    ];
    for (const token of none) expect(await reasonOf(validator, token), token.slice(0, 40)).toBe("malformed");
  });

  it("needs a key that is long enough, of the right kind, and for signatures", async () => {
    const team = await openTeam(cleanup);
    const weak = new SigningKey(1024);
    const { jwk } = keys.first;
    team.answer = (_request, response) => {
      const unfit = [weak.jwk, { ...jwk, use: "enc" }, { ...jwk, alg: "PS256" }, { ...jwk, kty: "oct", k: "AA" }];
      response.end(JSON.stringify({ keys: [...unfit, keys.second.jwk, null, 7, [], { kid: "x" }] }));
    };
    const validator = validatorOf(team);
    expect(await reasonOf(validator, await sign({}, keys.second))).toBe("passes");
    expect(await reasonOf(validator, await sign({}, keys.first))).toBe("unknown-key");
    expect(await reasonOf(validator, await forged(weak))).toBe("unknown-key");
  });
});

/** jose signs with no key as short as this one. */
async function forged(key: SigningKey): Promise<string> {
  const { sign: signBytes } = await import("node:crypto");
  const signed = `${encode({ alg: "RS256", kid: key.kid })}.${encode(claims())}`;
  return `${signed}.${signBytes("RSA-SHA256", Buffer.from(signed), key.privateKey).toString("base64url")}`;
}

describe("policies", () => {
  const hopeless: [string, Partial<AccessPolicy>][] = [
    ["no team", { teamName: "" }],
    ["no audience", { audTag: [] }],
    ["another environment", { environment: "moon" }],
    ...["a/b", "a@b", "a:1", "-a", "a-", "a..b", ".", "a b", "a#", "a?", "münchen", "x".repeat(64), "a\n"].map(
      (teamName): [string, Partial<AccessPolicy>] => [`the team ${JSON.stringify(teamName)}`, { teamName }],
    ),
  ];
  it.each(hopeless)("lets nobody in: %s", (_name, changes) => {
    const keySets = new KeySets({}, new OpenConnections(), silent);
    expect(Validator.create({ ...POLICY, ...changes }, keySets)).toBeUndefined();
  });
});

describe("what is remembered", () => {
  it("is a token that was good, for a minute, and not beyond its end", async () => {
    const team = await openTeam(cleanup);
    let now = Date.now();
    team.now = () => now;
    const validator = validatorOf(team);
    const token = await sign({ exp: inSeconds(90, now) });
    expect(validator.remembers(token)).toBe(false);
    expect(await reasonOf(validator, token)).toBe("passes");
    expect(validator.remembers(token)).toBe(true);
    expect(validator.remembers(`${token}x`)).toBe(false);
    now += 59_000;
    expect(validator.remembers(token)).toBe(true);
    now += 2_000;
    expect(validator.remembers(token)).toBe(false);
    expect(await reasonOf(validator, token)).toBe("passes");
    now += 28_000;
    expect(validator.remembers(token)).toBe(true);
    now += 2_000;
    expect(validator.remembers(token)).toBe(false);
    expect(await reasonOf(validator, token)).toBe("expired");
  });

  it("is forgotten when the clock is set back", async () => {
    const team = await openTeam(cleanup);
    let now = Date.now();
    team.now = () => now;
    const validator = validatorOf(team);
    const token = await sign();
    await validator.verify(token);
    now -= 3_600_000;
    expect(validator.remembers(token)).toBe(false);
  });

  it("is no token that was refused", async () => {
    const validator = validatorOf(await openTeam(cleanup));
    const token = await sign({ aud: "x" });
    expect(await reasonOf(validator, token)).toBe("audience");
    expect(validator.remembers(token)).toBe(false);
  });

  it("belongs to one policy", async () => {
    const team = await openTeam(cleanup);
    const [validator, other] = [validatorOf(team), validatorOf(team, { ...POLICY, audTag: ["x"] })];
    const token = await sign();
    await validator.verify(token);
    expect(other.remembers(token)).toBe(false);
    expect(await reasonOf(other, token)).toBe("audience");
  });
});

it("keeps what a token holds out of its errors", async () => {
  const validator = validatorOf(await openTeam(cleanup));
  const secrets = { email: "somebody@example.com", aud: "their-audience", kid: "their-key-id" };
  const { email, aud, kid } = secrets;
  const tokens = [
    await sign({ email, aud }),
    await sign({ email }, keys.stranger, { kid }),
    `${await sign({ email })}x`,
  ];
  for (const token of tokens) {
    const error = await validator.verify(token);
    const { inspect } = await import("node:util");
    const shown = inspect(error, { depth: 9 });
    for (const secret of [...Object.values(secrets), ...token.split(".")]) expect(shown).not.toContain(secret);
    expect(error?.code).toBe("ERR_UNDERPASS_ACCESS_DENIED");
  }
});
