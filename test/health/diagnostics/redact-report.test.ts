import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { redactReport } from "../../../src/health/diagnostics/redact-report.ts";
import { makeCredentials } from "../../config/make-credentials.ts";

const redact = (text: string): string => redactReport(text, (known) => known);
/** Short enough not to look like a secret by itself. */
const secret = randomBytes(6).toString("hex");

describe("what goes out of a report", () => {
  it.each([
    ["a query", `GET /x?access_token=${secret}&a=1`],
    ["a code of OAuth", `path=/cb?code=${secret}&state=x`],
    ["a log field", `DBG x password=${secret} connIndex=0`],
    ["JSON", `{"clientSecret":"${secret}","a":1}`],
    ["JSON in JSON", JSON.stringify({ message: JSON.stringify({ api_key: secret }) })],
    ["a header", `Authorization: Digest ${secret}`],
    ["cookies", `"cookie":"a=${secret}; b=${secret}"`],
    ["service tokens", `CF-Access-Client-Secret: ${secret}`],
    ["a bearer", `sent Bearer ${secret}xyz`],
    ["a URL's password", `proxy http://user:${secret}@proxy:3128/`],
    ["a user alone", `https://${secret}@example.com`],
    ["a private key", `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`],
    ["a JWT", `x eyJhbGciOiJFUzI1NiJ9.${Buffer.from(secret).toString("base64url")}.${secret} y`],
  ])("%s", (_name, text) => {
    const clean = redact(text);
    expect(clean).not.toContain(secret);
    expect(clean).toContain("[redacted]");
  });

  it("tunnel tokens and secrets, wherever they stand", () => {
    const made = makeCredentials();
    const text = redact(`a ${made.token} b "${made.token}" c=${made.token}`);
    expect(text).toBe('a [redacted] b "[redacted]" c=[redacted]');
  });

  it.each([
    '{"code":"ERR_UNDERPASS_EDGE_TCP","component":"Token","status":200}',
    "token:***** token-file:/run/secrets/tunnel",
    "https://example.com/a@b?x=1",
    "2026-11-23T12:00:00Z INF Registered tunnel connection connIndex=0 connection=0f0f0f0f-1111-4222-8333-444444444444 ip=198.41.192.7",
    'underpass_request_outcomes_total{class="ok"} 4',
  ])("leaves alone %s", (text) => {
    expect(redact(text)).toBe(text);
  });

  it("leaves JSON whole", () => {
    const text = JSON.stringify({ token: secret, nested: { password: `a"b\\c${secret}` }, list: [`key ${secret}`] });
    expect(() => JSON.parse(redact(text)) as unknown).not.toThrow();
  });

  it("takes no longer for texts that are made to be slow", () => {
    const texts = [
      "a-".repeat(500_000),
      "https".repeat(200_000),
      "-----BEGIN PRIVATE KEY-----".repeat(2_000),
      "token ".repeat(100_000),
    ];
    for (const text of texts) expect(redact(text)).toBe(text);
  });
});
