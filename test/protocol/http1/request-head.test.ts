import { describe, expect, it } from "vitest";
import { canonicalName } from "../../../src/protocol/http1/field-syntax.ts";
import { fieldLine, hostLine, requestLine } from "../../../src/protocol/http1/request-head.ts";

describe("a request's lines", () => {
  it("are written as they are received", () => {
    expect(requestLine("GET", "/a%2f?b=%20#c")).toBe("GET /a%2f?b=%20#c HTTP/1.1\r\n");
    expect(requestLine("PROPFIND", "/\u00e9")).toBe("PROPFIND /\u00e9 HTTP/1.1\r\n");
    expect(hostLine("[2001:db8::1]:8080")).toBe("Host: [2001:db8::1]:8080\r\n");
    expect(fieldLine("x-a", "b\tc \u00ff")).toBe("X-A: b\tc \u00ff\r\n");
  });

  it("refuse every control character, and name the part without its content", () => {
    for (let code = 0; code < 0x20; code++) {
      const character = String.fromCharCode(code);
      expect(() => requestLine("GET", `/a${character}b`)).toThrow(/path/);
      expect(() => requestLine(`G${character}T`, "/")).toThrow(/method/);
      expect(() => hostLine(`a${character}b`)).toThrow(/host/);
      expect(() => fieldLine(`a${character}b`, "c")).toThrow(/name/);
      if (character !== "\t") expect(() => fieldLine("x-a", `hidden${character}`)).toThrow(/^(?!.*hidden).*x-a/);
    }
    expect(() => requestLine("GET", "/ ")).toThrow(/path/);
    expect(() => requestLine("GET", "/\x7f")).toThrow(/path/);
    expect(() => requestLine("GET", "")).toThrow(/path/);
  });
});

describe("canonicalName", () => {
  it("writes names as Go does", () => {
    const names = ["cf-ray", "HOST", "sec-websocket-key", "x", "", "a--b", "-a", "a-", "etag", "x-1a-b2"];
    expect(names.map(canonicalName)).toEqual([
      "Cf-Ray",
      "Host",
      "Sec-Websocket-Key",
      "X",
      "",
      "A--B",
      "-A",
      "A-",
      "Etag",
      "X-1a-B2",
    ]);
  });
});
