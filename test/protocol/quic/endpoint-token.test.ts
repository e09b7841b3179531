/** Address validation tokens (RFC 9000 § 8.1). */
import { createSecretKey, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { TokenSealer } from "../../../src/protocol/quic/endpoint-token.ts";
import { NEW_TOKEN_LIFETIME, RETRY_TOKEN_LIFETIME } from "../../../src/protocol/quic/limits.ts";

const A = "192.0.2.1:1000";
const HOST = "192.0.2.1";
const original = Buffer.from("0102030405060708", "hex");
const source = Buffer.from("1112131415161718", "hex");

describe("tokens", () => {
  const sealer = new TokenSealer(createSecretKey(randomBytes(32)), randomBytes);

  it("of a Retry bring back the ids, at the same address, for some seconds", () => {
    const token = sealer.retry(A, original, source, 5_000);
    expect(sealer.open(token, A, HOST, 5_100)).toEqual({
      kind: "retry",
      originalDestination: original,
      retrySource: source,
    });
    expect(sealer.open(token, "192.0.2.1:1001", HOST, 5_100)).toEqual({ kind: "invalid", retry: false });
    expect(sealer.open(token, A, HOST, 5_001 + RETRY_TOKEN_LIFETIME)).toEqual({ kind: "invalid", retry: true });
  });

  it("for the next connection count for the host, for a day", () => {
    const token = sealer.newToken(HOST, 5_000);
    expect(sealer.open(token, "192.0.2.1:7", HOST, 6_000)).toEqual({ kind: "new-token" });
    expect(sealer.open(token, A, "192.0.2.2", 6_000)).toEqual({ kind: "invalid", retry: false });
    expect(sealer.open(token, A, HOST, 5_001 + NEW_TOKEN_LIFETIME)).toEqual({ kind: "invalid", retry: false });
  });

  it("of one kind don't pass for the other, even where host and address are written the same", () => {
    expect(sealer.open(sealer.retry(HOST, original, source, 0), A, HOST, 0)).toEqual({ kind: "invalid", retry: false });
    expect(sealer.open(sealer.newToken(A, 0), A, HOST, 0)).toEqual({ kind: "invalid", retry: false });
  });

  it("say nothing to others, are never twice the same, and can't be changed", () => {
    const token = sealer.retry(A, original, source, 5_000);
    expect(token.includes(original)).toBe(false);
    expect(sealer.retry(A, original, source, 5_000)).not.toEqual(token);
    expect(new TokenSealer(createSecretKey(randomBytes(32)), randomBytes).open(token, A, HOST, 5_000).kind).toBe(
      "invalid",
    );
    for (let at = 0; at < token.length; at++) {
      const changed = Buffer.from(token);
      changed[at] = (changed[at] as number) ^ 1;
      expect(sealer.open(changed, A, HOST, 5_000).kind).toBe("invalid");
      expect(sealer.open(token.subarray(0, at), A, HOST, 5_000).kind).toBe("invalid");
    }
  });
});
