import { randomBytes, randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { describeValue, looksSecret, redactLikely, Scrubber } from "../../../src/proxy/ingress/redact.ts";
import { encodeToken, makeCredentials } from "../../config/make-credentials.ts";

function jwt(): string {
  const part = (content: unknown) => Buffer.from(JSON.stringify(content)).toString("base64url");
  return `${part({ alg: "ES256", typ: "JWT" })}.${part({ sub: randomUUID() })}.${randomBytes(64).toString("base64url")}`;
}

describe("redactLikely", () => {
  it("blanks tokens, tunnel secrets and JWTs inside any text", () => {
    for (let round = 0; round < 50; round++) {
      const { token, secret } = makeCredentials();
      for (const hidden of [token, secret, jwt(), token.slice(0, 40)]) {
        for (const text of [
          `a ${hidden} b`,
          `key=${hidden}`,
          `{"k":"${hidden}"}`,
          `https://h/x?t=${hidden}&y`,
          hidden,
        ]) {
          const shown = redactLikely(text);
          expect(shown).toContain("[redacted]");
          expect(shown).not.toContain(hidden.slice(0, 16));
          expect(shown).not.toContain(hidden.slice(-16));
        }
      }
    }
  });

  it("leaves ordinary text alone", () => {
    for (const text of [
      "Registered tunnel connection connIndex=0 ip=198.41.192.7 location=lhr01",
      `tunnelID=${randomUUID()}`,
      "/var/lib/some/very/long/directory/name/that/goes/on/and/on=1",
      `sha256=${randomBytes(32).toString("hex")}`,
      "x=1 y==2",
    ]) {
      expect(redactLikely(text)).toBe(text);
    }
  });

  it("does not stall on hostile text (the test's own time limit would end it)", () => {
    const text = `${"A".repeat(200_000)}!${"eyJ".repeat(50_000)}!=`;
    expect(redactLikely(text)).toContain("!");
  });
});

describe("looksSecret", () => {
  it("knows credentials from paths, addresses and ids", () => {
    const { token, secret } = makeCredentials();
    for (const value of [token, secret, jwt(), randomBytes(20).toString("hex"), encodeToken({ a: 1, b: 2, c: 3 })]) {
      expect(looksSecret(value)).toBe(true);
    }
    for (const value of [
      "http2",
      randomUUID(),
      "/etc/cloudflared/credentials/tunnel1/file",
      "a.example.com:7844",
      "~/x",
    ]) {
      expect(looksSecret(value)).toBe(false);
    }
  });
});

describe("describeValue", () => {
  it("quotes short values, counts long ones, hides credentials", () => {
    expect(describeValue("x")).toBe('"x"');
    expect(describeValue("word ".repeat(40))).toBe("a text of 200 characters");
    expect(describeValue(makeCredentials().secret)).toBe("[redacted]");
    expect(describeValue(null)).toBe("nothing");
    expect(describeValue(5n)).toBe("5");
    expect(describeValue(new Map())).toBe("a table");
  });
});

describe("Scrubber", () => {
  it("blanks the secrets it was told of, also escaped", () => {
    const scrubber = new Scrubber();
    const secret = 'p@ss "word"\\/1';
    scrubber.add(secret);
    scrubber.add(`  ${secret}  `);
    expect(scrubber.scrub(`a ${secret} b`)).toBe("a [redacted] b");
    expect(scrubber.scrub(JSON.stringify({ x: secret }))).toBe('{"x":"[redacted]"}');
    expect(scrubber.scrub(`https://h/?p=${encodeURIComponent(secret)}`)).toBe("https://h/?p=[redacted]");
  });

  it("blanks the longer of two secrets whole", () => {
    const scrubber = new Scrubber();
    scrubber.add("abcdefgh");
    scrubber.add("abcdefghijkl");
    expect(scrubber.scrub("abcdefghijkl abcdefgh")).toBe("[redacted] [redacted]");
  });

  it("does not blank short words", () => {
    const scrubber = new Scrubber();
    scrubber.add("a");
    scrubber.add("");
    scrubber.add("http://");
    expect(scrubber.scrub("a banana of http://b")).toBe("a banana of http://b");
  });
});
