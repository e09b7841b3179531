/** Whatever comes as a token, and whatever the team's service answers: 403, within bounded time, and never an error of another kind. */
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";
import { FakeStream, httpRequest } from "../proxy/fake-stream.ts";
import { Cleanup, Harness } from "../proxy/harness.ts";
import { AUDIENCE, inSeconds, ISSUER, keys, openTeam, POLICY, sign, type Team } from "../proxy/access/team.ts";

const BOX = { interruptAfterTimeLimit: 2_000, markInterruptAsFailure: false };
const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function guard(team: Team): Harness {
  const harness = new Harness({ kind: "status", status: 204 }, { access: POLICY }, { access: team.options });
  return cleanup.add(harness, ({ proxy }) => proxy.close());
}

async function statusOf(harness: Harness, tokens: readonly string[]): Promise<number | undefined> {
  const stream = new FakeStream();
  const headers = tokens.map((token) => new HeaderField("cf-access-jwt-assertion", token));
  harness.proxy.handle(httpRequest(stream, { method: "POST", headers }), 0);
  stream.give("body");
  stream.giveEnd();
  await stream.done();
  return stream.head?.status;
}

/** The time limit of a property does not wait for the last run. */
async function idle(harness: Harness): Promise<void> {
  await expect.poll(() => harness.proxy.activeRequests).toBe(0);
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value) ?? "").toString("base64url");

/** Near to what is right, so that each check gets its share. */
const odd = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom("RS256", "HS256", "none", keys.first.kid, ISSUER, AUDIENCE, 1e300, -1, 0),
);
const header = fc.record(
  {
    alg: fc.oneof({ arbitrary: fc.constant("RS256"), weight: 4 }, odd),
    kid: fc.oneof(fc.constant(keys.first.kid), odd),
    typ: odd,
    crit: odd,
    b64: odd,
    jwk: odd,
    x5c: odd,
  },
  { requiredKeys: ["alg"] },
);
const claims = fc.record(
  {
    iss: fc.oneof({ arbitrary: fc.constant(ISSUER), weight: 4 }, odd),
    aud: fc.oneof({ arbitrary: fc.constant([AUDIENCE]), weight: 4 }, odd),
    exp: fc.oneof({ arbitrary: fc.constant(inSeconds(600)), weight: 4 }, odd),
    nbf: odd,
    iat: odd,
    toString: odd,
  },
  { requiredKeys: ["iss"] },
);
const part = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.base64String({ maxLength: 400 }),
  fc.json().map((text) => Buffer.from(text).toString("base64url")),
);
const token = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(part, { maxLength: 6 }).map((parts) => parts.join(".")),
  fc.tuple(header, claims, part).map(([head, body, signature]) => `${encode(head)}.${encode(body)}.${signature}`),
);

describe("tokens", () => {
  it("that nobody signed never pass", async () => {
    const team = await openTeam(cleanup);
    const harness = guard(team);
    await fc.assert(
      fc.asyncProperty(fc.array(token, { maxLength: 2 }), async (tokens) => {
        expect(await statusOf(harness, tokens)).toBe(403);
      }),
      { numRuns: 20_000, ...BOX },
    );
    expect(new Set(harness.outcomes.map((outcome) => outcome.class))).toEqual(new Set(["access-denied"]));
    await idle(harness);
    expect(team.asked).toBeLessThanOrEqual(1);
    expect(await statusOf(harness, [await sign()])).toBe(204);
  });

  it("that were good until one character was another never pass", async () => {
    const team = await openTeam(cleanup);
    const harness = guard(team);
    const good = await sign();
    const [head = "", body = ""] = good.split(".");
    // The last character of the signature holds bits that say nothing.
    const change = fc.tuple(
      fc.nat(good.length - 2),
      fc.constantFrom("a", "Z", "0", "-", "_", ".", "+", "/", "=", " ", "\0", "é"),
    );
    await fc.assert(
      fc.asyncProperty(change, async ([at, character]) => {
        const changed = good.slice(0, at) + character + good.slice(at + 1);
        const inSignature = at > head.length + body.length + 1;
        const same =
          inSignature &&
          Buffer.from(changed.split(".")[2] ?? "", "base64url").equals(
            Buffer.from(good.split(".")[2] ?? "", "base64url"),
          );
        fc.pre(changed !== good && !same);
        expect(await statusOf(harness, [changed])).toBe(403);
      }),
      { numRuns: 20_000, ...BOX },
    );
    await idle(harness);
  });
});

it("answers of the team's service never let anyone in whom the team did not sign for", async () => {
  const team = await openTeam(cleanup);
  let now = Date.now();
  team.now = () => now;
  const harness = guard(team);
  const { jwk } = keys.first;
  const stranger = keys.stranger.jwk;
  const key = fc.oneof(
    fc.jsonValue(),
    fc.record({ kty: odd, kid: odd, n: odd, e: odd, use: odd, alg: odd }, { requiredKeys: [] }),
    fc.tuple(fc.constantFrom("kty", "n", "e", "use", "alg"), odd).map(([name, value]) => ({ ...jwk, [name]: value })),
    fc.constant({ ...jwk, n: stranger["n"] }),
  );
  const answer = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.array(key, { maxLength: 4 }).map((list) => JSON.stringify({ keys: list })),
  );
  const forged = await sign({ exp: inSeconds(10_000_000) }, keys.second, { kid: keys.first.kid });
  await fc.assert(
    fc.asyncProperty(answer, fc.constantFrom(200, 200, 200, 204, 301, 404, 500), async (text, status) => {
      team.answer = (_request, response) => response.writeHead(status).end(text);
      now += 30_000;
      expect(await statusOf(harness, [forged])).toBe(403);
    }),
    { numRuns: 2_000, ...BOX },
  );
  await idle(harness);
});
