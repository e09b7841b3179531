import { describe, expect, it } from "vitest";
import { fetch } from "undici";
import { parseQuickService } from "../../src/config/quick-service.ts";

const read = (text: string) => parseQuickService(text, "--quick-service");

describe("the service that hands out quick tunnels", () => {
  it.each([
    ["https://api.trycloudflare.com", "https://api.trycloudflare.com"],
    ["http://127.0.0.1:8080/", "http://127.0.0.1:8080"],
    ["https://example.com/base//", "https://example.com/base"],
  ])("%s is taken", (text, service) => {
    expect(read(text)).toBe(service);
  });

  it.each([
    ["", 'found ""; an http or https URL such as "https://api.trycloudflare.com" would be right'],
    ["api.trycloudflare.com", /^found "api\.trycloudflare\.com"; an http or https URL/],
    ["ftp://example.com", /an http or https URL/],
    ["http://", /an http or https URL/],
    ["https://example.com/?a=b", /a URL that ends with its path/],
    ["https://example.com/#a", /a URL that ends with its path/],
    ["http://127.0.0.1:6000", /^found port 6000, .* another port would be right$/],
  ])("%j is refused", (text, problem) => {
    expect(read(text)).toMatchObject({ where: "--quick-service", text: expect.stringMatching(problem) as string });
  });

  it("a password in it is not shown", () => {
    expect(JSON.stringify(read("https://me:hidden-words@example.com"))).toMatch(/user name or a password(?!.*hidden)/);
  });

  it("fetch refuses every port that is refused here, and no other of the first 11,000", async () => {
    // Resolved without a network: a refused port never gets as far as the dispatcher.
    const reached = new Error("the dispatcher was asked");
    const dispatcher = {
      dispatch(): boolean {
        throw reached;
      },
    };
    for (let port = 1; port <= 11_000; port++) {
      const url = `http://127.0.0.1:${port}`;
      const isRefusedHere = typeof read(url) !== "string";
      const error: unknown = await fetch(url, { dispatcher: dispatcher as never }).catch((reason: unknown) => reason);
      if (((error as Error).cause === reached) === isRefusedHere) expect.fail(`port ${port}`);
    }
  });
});
