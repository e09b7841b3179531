import { describe, expect, it } from "vitest";
import { HeaderLineCache, LineRole, parseHeaderLine } from "../../../src/protocol/http1/header-line.ts";
import { MAX_CACHEABLE_LINE, MAX_CACHED_LINE_BYTES, MAX_CACHED_LINES } from "../../../src/protocol/http1/limits.ts";

describe("parseHeaderLine", () => {
  it("classifies what the framing needs, in any case", () => {
    expect(parseHeaderLine("CONTENT-length: 0012")).toMatchObject({ role: LineRole.CONTENT_LENGTH, number: 12 });
    expect(parseHeaderLine("content-length: 12a").number).toBe(-1);
    expect(parseHeaderLine("Transfer-Encoding: chunked").role).toBe(LineRole.TRANSFER_ENCODING);
    expect(parseHeaderLine("Trailer: X").role).toBe(LineRole.TRAILER);
    expect(parseHeaderLine("connection: Close").number).toBe(1);
    expect(parseHeaderLine("connection: keep-alive , x").number).toBe(2);
    expect(parseHeaderLine("connection: closed").number).toBe(0);
    expect(parseHeaderLine("X-Content-Length: 5").role).toBe(LineRole.PLAIN);
  });

  it("reads the timeout of Keep-Alive, or none", () => {
    expect(parseHeaderLine("Keep-Alive: timeout=5").number).toBe(5);
    expect(parseHeaderLine('Keep-Alive: max=100, timeout="15"').number).toBe(15);
    expect(parseHeaderLine("Keep-Alive: max=100").number).toBe(-1);
    expect(parseHeaderLine("Keep-Alive: timeout=99999999999").number).toBe(-1);
    expect(parseHeaderLine("Keep-Alive: xtimeout=5").number).toBe(-1);
  });
});

describe("HeaderLineCache", () => {
  it("hands out the same field again, so that what hangs on it is computed once", () => {
    const cache = new HeaderLineCache();
    expect(cache.get("Server: x").field).toBe(cache.get("Server: x").field);
    expect(cache.get("Server: x").field).not.toBe(cache.get("Server: y").field);
  });

  it("keeps neither cookies nor long lines", () => {
    const cache = new HeaderLineCache();
    const long = `X: ${"v".repeat(MAX_CACHEABLE_LINE)}`;
    for (const line of ["Set-Cookie: session=1", "set-cookie: session=1", long]) {
      expect(cache.get(line).field).not.toBe(cache.get(line).field);
      expect(cache.get(line).field.value).toBe(line.slice(line.indexOf(" ") + 1));
    }
    expect(cache.size).toBe(0);
  });

  it("does not keep what it refuses", () => {
    const cache = new HeaderLineCache();
    expect(() => cache.get("X : y")).toThrow();
    expect(() => cache.get("X : y")).toThrow();
    expect(cache.size).toBe(0);
  });

  it("is bounded in lines", () => {
    const cache = new HeaderLineCache();
    for (let i = 0; i < 10_000; i++) cache.get(`X: ${i}`);
    expect(cache.size).toBeLessThanOrEqual(2 * MAX_CACHED_LINES);
  });

  it("is bounded in bytes", () => {
    const cache = new HeaderLineCache();
    const line = (i: number): string => `X-${i}: ${"v".repeat(200)}`;
    for (let i = 0; i < 10_000; i++) cache.get(line(i));
    expect(cache.size * line(9_999).length).toBeLessThanOrEqual(2 * MAX_CACHED_LINE_BYTES);
  });

  it("keeps what is used while the rest goes by", () => {
    const cache = new HeaderLineCache();
    const { field } = cache.get("Server: kept");
    for (let i = 0; i < 10_000; i++) {
      cache.get(`Date: ${i}`);
      if (i % 100 === 0) expect(cache.get("Server: kept").field).toBe(field);
    }
  });
});
