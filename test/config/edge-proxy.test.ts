import { describe, expect, it } from "vitest";
import { edgeProxyOf, parseEdgeProxy } from "../../src/config/edge-proxy.ts";

function parsed(text: string) {
  const proxy = parseEdgeProxy(text, "--edge-proxy");
  if (!("kind" in proxy)) throw new Error(proxy.text);
  return proxy;
}

describe("an edge proxy", () => {
  it.each([
    ["http://proxy.example:3128", { kind: "http", host: "proxy.example", port: 3128, authorization: undefined }],
    ["http://proxy.example", { kind: "http", host: "proxy.example", port: 80, authorization: undefined }],
    ["socks5://[2001:db8::1]", { kind: "socks5", host: "2001:db8::1", port: 1080, credentials: undefined }],
    ["socks5h://127.0.0.1:9050/", { kind: "socks5", host: "127.0.0.1", port: 9050, credentials: undefined }],
    [
      "http://me:p%40ss@127.0.0.1:1",
      { kind: "http", host: "127.0.0.1", port: 1, authorization: `Basic ${btoa("me:p@ss")}` },
    ],
    [
      "socks5://me:p%40ss@127.0.0.1:1",
      { kind: "socks5", host: "127.0.0.1", port: 1, credentials: { user: "me", password: "p@ss" } },
    ],
  ])("%s", (text, expected) => {
    expect(edgeProxyOf(parsed(text))).toEqual(expected);
  });

  it.each([
    ["proxy.example", "found no URL"],
    ["proxy.example:3128", "begins with proxy.example://"],
    ["https://proxy.example", "begins with https://"],
    ["socks4://proxy.example", "begins with socks4://"],
    ["http://proxy.example/path", "goes on after the port"],
    ["http://proxy.example:0", "port 0"],
    ["http://a%:b@proxy.example", "a % that begins no escape"],
    [`socks5://${"u".repeat(256)}@proxy.example`, "more than 255 bytes"],
  ])("%s is refused", (text, why) => {
    expect(parseEdgeProxy(text, "--edge-proxy")).toMatchObject({
      where: "--edge-proxy",
      text: expect.stringContaining(why),
    });
  });

  it("keeps its password to itself", () => {
    const secret = crypto.randomUUID();
    expect(JSON.stringify(parsed(`http://me:${secret}@proxy.example`))).not.toContain(secret);
    expect(JSON.stringify(parseEdgeProxy(`ftp://me:${secret}@proxy.example`, ""))).not.toContain(secret);
  });
});
