import { describe, expect, it } from "vitest";
import { serialiseResponseHeaders } from "../../src/edge/response-headers.ts";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";

function deserialise(text: string): [string, string][] {
  return text
    .split(";")
    .filter((item) => item !== "")
    .map((item) => {
      const parts = item.split(":");
      expect(parts).toHaveLength(2);
      return [
        Buffer.from(parts[0] ?? "", "base64").toString("latin1"),
        Buffer.from(parts[1] ?? "", "base64").toString("latin1"),
      ];
    });
}

describe("serialised response headers (wire § 4.4)", () => {
  it("matches the reference's example byte by byte", () => {
    const fields = [new HeaderField("X-Multi", "a"), new HeaderField("X-Multi", "b")];
    expect(serialiseResponseHeaders(fields)).toBe("WC1NdWx0aQ:YQ;WC1NdWx0aQ:Yg");
  });

  it("is empty without fields and keeps empty values", () => {
    expect(serialiseResponseHeaders([])).toBe("");
    expect(serialiseResponseHeaders([new HeaderField("X-Empty", "")])).toBe("WC1FbXB0eQ:");
  });

  it("round-trips odd bytes and keeps the order", () => {
    const fields = [
      new HeaderField("Set-Cookie", "a=1"),
      new HeaderField("X-Odd", "\xff\x80;:=é"),
      new HeaderField("Set-Cookie", "b=2"),
    ];
    expect(deserialise(serialiseResponseHeaders(fields))).toEqual(fields.map((field) => [field.name, field.value]));
  });

  it("drops what only Cloudflare's components may set, in any case", () => {
    const fields = ["Cf-Int-Secret", "CF-Cloudflared-Response-Meta", "cf-proxy-x", ":status", "Cf-Ray"].map(
      (name) => new HeaderField(name, "v"),
    );
    expect(deserialise(serialiseResponseHeaders(fields))).toEqual([["Cf-Ray", "v"]]);
    // The second time the cached verdicts answer.
    expect(deserialise(serialiseResponseHeaders(fields))).toEqual([["Cf-Ray", "v"]]);
  });
});
