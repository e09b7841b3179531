import { Buffer } from "node:buffer";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { parseCredentials } from "../../src/config/credentials.ts";
import { parseToken } from "../../src/config/token.ts";
import { parseUuid } from "../../src/config/uuid.ts";
import { encodeToken, makeCredentials } from "./make-credentials.ts";

type Made = ReturnType<typeof makeCredentials>;

function errorOf(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was thrown");
}

describe("parseToken", () => {
  it("reads account, secret, tunnel and endpoint", () => {
    const made = makeCredentials({ e: "fed" });
    const credentials = parseToken(made.token);
    expect(credentials.accountTag).toBe(made.accountTag);
    expect(Buffer.from(credentials.tunnelSecret.reveal()).toString("base64")).toBe(made.secret);
    expect(credentials.tunnelId).toBe(made.tunnelId);
    expect(credentials.endpoint).toBe("fed");
  });

  it("takes an empty or null endpoint as none, and ignores unknown keys", () => {
    expect(parseToken(makeCredentials({ e: "", x: [1] }).token).endpoint).toBeUndefined();
    expect(parseToken(makeCredentials({ e: null }).token).endpoint).toBeUndefined();
  });

  it("matches keys in any case, the exact one first", () => {
    const made = makeCredentials();
    const token = encodeToken({ A: "other", a: made.accountTag, S: made.secret, T: made.tunnelId });
    expect(parseToken(token).accountTag).toBe(made.accountTag);
  });

  it("skips line ends inside and white space around, as files have them", () => {
    const { token, tunnelId } = makeCredentials();
    const wrapped = `\n ${token.slice(0, 40)}\r\n${token.slice(40)}\n\n`;
    expect(parseToken(wrapped).tunnelId).toBe(tunnelId);
  });

  it.each([
    ["bare hex", (id: string) => id.replaceAll("-", "")],
    ["braces", (id: string) => `{${id}}`],
    ["a URN", (id: string) => `urn:uuid:${id}`],
    ["capitals", (id: string) => id.toUpperCase()],
  ])("takes the tunnel id as %s", (_, spell) => {
    const made = makeCredentials();
    const token = encodeToken({ a: made.accountTag, s: made.secret, t: spell(made.tunnelId) });
    expect(parseToken(token).tunnelId).toBe(made.tunnelId);
  });

  it("refuses URL-safe base64 and lost padding, and says which it is", () => {
    // Bytes 0xfb 0xff make "+/" in the standard alphabet and "-_" in the URL-safe one.
    const urlSafe = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xfb, 0xff, 0xfe, 0xfb, 0xff, 0xfe])]);
    expect(() => parseToken(urlSafe.toString("base64url"))).toThrow(/URL-safe/);
    const padded = [makeCredentials(), makeCredentials({ x: "1" }), makeCredentials({ x: "12" })]
      .map(({ token }) => token)
      .find((token) => token.endsWith("="));
    expect(() => parseToken(padded?.replace(/=+$/, "") ?? "")).toThrow(/cut off or has lost its padding/);
    expect(() => parseToken("not a token")).toThrow(/white space/);
    expect(() => parseToken("%%%%")).toThrow(/not base64/);
    expect(() => parseToken("")).toThrow(/empty/);
  });

  it.each([
    ["no JSON", Buffer.from("hello!").toString("base64"), /not JSON/],
    ["a JSON list", encodeToken([1]), /not a JSON object/],
    ["no account", encodeToken({ s: "AAAA", t: makeCredentials().tunnelId }), /"a" is missing/],
    ["no secret", encodeToken({ a: "x", t: makeCredentials().tunnelId }), /"s" is missing/],
    ["a secret that is no base64", encodeToken({ a: "x", s: "A-_A", t: makeCredentials().tunnelId }), /"s" is wrong/],
    ["no tunnel", encodeToken({ a: "x", s: "AAAA" }), /"t" is missing/],
    ["a tunnel that is no UUID", encodeToken({ a: "x", s: "AAAA", t: "mine" }), /"t" is wrong/],
    ["a numeric endpoint", encodeToken({ a: "x", s: "AAAA", t: makeCredentials().tunnelId, e: 4 }), /"e" is wrong/],
  ])("refuses %s", (_, token, message) => {
    const error = errorOf(() => parseToken(token));
    expect(error).toMatchObject({ code: "ERR_UNDERPASS_CREDENTIALS" });
    expect(error.message).toMatch(/^Provided Tunnel token is not valid/);
    expect(error.message).toMatch(message);
  });

  it.each([
    ["the tunnel's id", (made: Made) => made.tunnelId, /it is the id of a tunnel/],
    ["the same as hex", (made: Made) => made.tunnelId.replaceAll("-", ""), /it is the id of a tunnel/],
    ["a credentials file's text", (made: Made) => made.json, /it is JSON, .*--credentials-file/],
    ["a path", () => "/run/secrets/token", /the path of a file \(--token-file\)/],
    ["a path of Windows", () => "C:\\secrets\\token", /the path of a file \(--token-file\)/],
    ["the whole command", (made: Made) => `cloudflared service install ${made.token}`, /white space inside/],
    ["a word", () => "garbage", /it is not the base64 of JSON/],
    ["its middle", (made: Made) => `A${made.token.slice(21, 82)}`, /its beginning is missing/],
    ["its beginning", (made: Made) => made.token.slice(0, 81), /cut off .*: found 81 characters, a multiple of 4/],
    ["most of it", (made: Made) => made.token.slice(8), /not JSON, as if a part were missing/],
    ["nothing", () => " ", /it is empty/],
    ["without its secret", (made: Made) => encodeToken({ a: "x", t: made.tunnelId }), /"s" is missing/],
  ])("tells %s from a token, and where there is one", (_, give, message) => {
    const made = makeCredentials();
    const error = errorOf(() => parseToken(give(made)));
    expect(error.message).toMatch(message);
    expect(error.message).toContain("; a token is one line that begins with eyJ");
    for (const part of [made.tunnelId, made.secret, made.accountTag]) expect(error.message).not.toContain(part);
    // As it is what the hint says.
    expect(made.token).toMatch(/^eyJ/);
  });

  it("never shows any of the token: not in the error, its cause or the credentials", () => {
    const made = makeCredentials();
    const broken = [
      made.token.slice(0, -6),
      Buffer.from(`{"a":"${made.accountTag}","s":"${made.secret}"`).toString("base64"),
      encodeToken({ a: made.accountTag, s: made.secret, t: "no uuid" }),
      encodeToken({ a: made.accountTag, s: `${made.secret}!`, t: made.tunnelId }),
    ];
    for (const token of broken) {
      const shown = inspect(
        errorOf(() => parseToken(token)),
        { depth: 10, showHidden: true },
      );
      expect(shown).not.toContain(made.secret.slice(0, 12));
      expect(shown).not.toContain(token.slice(0, 24));
    }
    expect(inspect(parseToken(made.token), { depth: 10, showHidden: true })).not.toContain(made.secret.slice(0, 12));
    expect(JSON.stringify(parseToken(made.token))).not.toContain(made.secret.slice(0, 12));
  });
});

describe("parseCredentials", () => {
  it("reads a credentials file; the id that was asked for overrides the file's", () => {
    const made = makeCredentials();
    expect(parseCredentials(made.json, "c.json")).toMatchObject({ tunnelId: made.tunnelId, endpoint: undefined });
    const other = makeCredentials().tunnelId;
    expect(parseCredentials(made.json, "c.json", other).tunnelId).toBe(other);
  });

  it("names the file and not its content in errors", () => {
    const made = makeCredentials();
    const error = errorOf(() => parseCredentials(made.json.slice(0, -1), "c.json"));
    expect(error.message).toMatch(/^c\.json: is not valid JSON/);
    expect(inspect(error, { showHidden: true })).not.toContain(made.secret);
  });
});

describe("parseUuid", () => {
  it("refuses what is no UUID", () => {
    for (const text of [
      "",
      "x",
      "{}",
      "urn:uuid:",
      "123e4567-e89b-12d3-a456-42661417400",
      "123e4567e89b12d3a45642661417400g",
    ]) {
      expect(parseUuid(text)).toBeUndefined();
    }
  });
});
