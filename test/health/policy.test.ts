import { describe, expect, it } from "vitest";
import { advance, freshPolicy, judge, type ProbeAnswer, type Verdict } from "../../src/health/policy.ts";
import type { TokenUse } from "../../src/health/probe.ts";

function answer(status: number, body = "", carried = false): ProbeAnswer {
  return { kind: "answer", status, body, carried };
}

const noAnswer: ProbeAnswer = { kind: "no-answer", error: new Error("ETIMEDOUT") };
const cloudflarePage =
  "<html><body><center><h1>500 Internal Server Error</h1></center><hr><center>cloudflare</center></body></html>";

describe("a check", () => {
  it.each<[string, boolean, ProbeAnswer | undefined, Verdict["kind"]]>([
    ["no connection, no hostname", false, undefined, "failed"],
    ["no connection, though the hostname answers", false, answer(200), "failed"],
    ["a connection, no hostname", true, undefined, "healthy"],
    ["200", true, answer(200), "healthy"],
    ["204", true, answer(204), "healthy"],
    ["no answer", true, noAnswer, "failed"],
    ["530", true, answer(530), "failed"],
    ["530 with 1033", true, answer(530, "error code: 1033"), "failed"],
    ["1033 on another 5xx", true, answer(503, "<h1>Error 1033</h1>"), "failed"],
    ["502 of a gateway", true, answer(502, "Bad Gateway"), "failed"],
    ["504 of a gateway", true, answer(504), "failed"],
    ["520", true, answer(520), "failed"],
    ["522", true, answer(522), "failed"],
    ["525", true, answer(525), "failed"],
    ["500 with the edge's page", true, answer(500, cloudflarePage), "failed"],
    ["503 with the edge's code", true, answer(503, "error code: 1105"), "failed"],
    ["500 of the origin", true, answer(500, "oops"), "degraded"],
    ["503 of the origin", true, answer(503, "maintenance"), "degraded"],
    ["502 that came through this tunnel", true, answer(502, "Bad Gateway", true), "degraded"],
    ["502 page for an answer that came through this tunnel", true, answer(502, "error code: 502", true), "degraded"],
    ["500 that speaks of 1033 and came through this tunnel", true, answer(500, "order 1033 failed", true), "degraded"],
    ["530, whatever came through", true, answer(530, "", true), "failed"],
    ["302 to a login", true, answer(302), "degraded"],
    ["401", true, answer(401), "degraded"],
    ["403 with a code of the edge", true, answer(403, "error code: 1020"), "degraded"],
    ["404", true, answer(404), "degraded"],
    ["404 that speaks of 1033", true, answer(404, "1033"), "degraded"],
    ["429", true, answer(429), "degraded"],
  ])("with %s (registered: %s) is %4$s", (_name, registered, probe, kind) => {
    expect(judge({ registered, probe, origins: [] }).kind).toBe(kind);
  });

  it.each<[TokenUse | undefined, RegExp, string?]>([
    [undefined, /: --service-token-id and its secret let the check through$/],
    ["sent", /: the service token was sent and is refused; .*Service Auth/],
    ["withheld", /: the service token is sent by https alone/],
    ["sent", /Service Auth/, "team.fed.cloudflareaccess.com"],
  ])(
    "says of a redirect to the login of Access, the token %s, what would let it through",
    (token, expected, domain = "team.cloudflareaccess.com") => {
      const login: ProbeAnswer = {
        kind: "answer",
        status: 302,
        body: "",
        carried: false,
        location: `https://${domain}/cdn-cgi/access/login`,
        serviceToken: token,
      };
      const verdict = judge({ registered: true, probe: login, origins: [] });
      expect(verdict).toMatchObject({ kind: "degraded", message: expect.stringMatching(expected) });
    },
  );

  it.each([
    [true, undefined, "degraded"],
    [true, answer(200), "degraded"],
    [true, answer(302), "degraded"],
    [true, answer(530), "failed"],
    [false, undefined, "failed"],
  ])("with an origin down, registered %s and %j is %s", (registered, probe, kind) => {
    const verdict = judge({ registered, probe, origins: ["the origin a is down", "the origin b is down"] });
    expect(verdict.kind).toBe(kind);
  });

  it("names the origin that is down", () => {
    expect(judge({ registered: true, probe: answer(200), origins: ["the origin a is down", "b"] })).toEqual({
      kind: "degraded",
      status: undefined,
      message: "the origin a is down (and 1 more)",
    });
  });

  it("names the edge's error", () => {
    expect(judge({ registered: true, probe: answer(530, "error code: 1033"), origins: [] })).toMatchObject({
      message: expect.stringContaining("530 (error 1033)"),
    });
  });
});

describe("the policy", () => {
  const failed: Verdict = { kind: "failed", message: "" };
  const healthy: Verdict = { kind: "healthy" };
  const degraded: Verdict = { kind: "degraded", status: 302, message: "" };

  function run(verdicts: readonly Verdict[], maxFailures = 3): (number | undefined)[] {
    let state = freshPolicy;
    return verdicts.map((verdict) => {
      const step = advance(state, verdict, maxFailures);
      state = step.state;
      return step.restart;
    });
  }

  it.each<[string, readonly Verdict[], readonly (number | undefined)[]]>([
    ["restarts after three failures in a row", [failed, failed, failed], [undefined, undefined, 0]],
    ["does not restart for failures that a success interrupts", [failed, failed, healthy, failed, failed], Array(5)],
    [
      "does not restart for failures that a degraded check interrupts",
      [failed, failed, degraded, failed, failed],
      Array(5),
    ],
    ["never restarts for degraded checks", Array.from({ length: 20 }, () => degraded), Array(20)],
    [
      "climbs the ladder until a success",
      [failed, failed, failed, failed, failed, failed, healthy, failed, failed, failed],
      [undefined, undefined, 0, undefined, undefined, 1, undefined, undefined, undefined, 0],
    ],
    [
      "keeps its step over degraded checks",
      [failed, failed, failed, degraded, failed, failed, failed],
      [undefined, undefined, 0, undefined, undefined, undefined, 1],
    ],
  ])("%s", (_name, verdicts, restarts) => {
    expect(run(verdicts)).toEqual([...restarts].map((restart) => restart));
  });

  it("restarts at each failure when one is too many", () => {
    expect(run([failed, failed, failed], 1)).toEqual([0, 1, 2]);
  });
});
