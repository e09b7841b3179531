import { describe, expect, it } from "vitest";
import { readCommandLine } from "../../src/cli/flags.ts";
import { Scrubber } from "../../src/proxy/ingress/redact.ts";
import { makeCredentials } from "../config/make-credentials.ts";

function read(...args: string[]) {
  const { words, layer, switches, problems } = readCommandLine(args, new Scrubber());
  return {
    words,
    values: Object.fromEntries([...layer.values()].map(({ name, value }) => [name, value])),
    switches: [...switches],
    problems: problems.map(({ where, text }) => `${where}: ${text}`),
  };
}

describe("readCommandLine", () => {
  it.each([[["--url", "http://x"]], [["--url=http://x"]], [["-url", "http://x"]], [["-url=http://x"]]])(
    "reads %j as Go does",
    (args) => {
      expect(read(...args)).toEqual({ words: [], values: { url: "http://x" }, switches: [], problems: [] });
    },
  );

  it("takes flags at any level, before and after commands and arguments", () => {
    const { words, values } = read(
      "--no-autoupdate",
      "tunnel",
      "--retries",
      "3",
      "run",
      "--token=t",
      "my-id",
      "--loglevel",
      "debug",
      "-p",
      "http2",
    );
    expect(words).toEqual(["tunnel", "run", "my-id"]);
    expect(values).toEqual({ "no-autoupdate": true, retries: 3, token: "t", loglevel: "debug", protocol: "http2" });
  });

  it("knows aliases", () => {
    expect(read("-F", "a", "--cred-file", "c", "-pq", "-n", "x", "-f", "--proto-loglevel=warn").values).toEqual({
      features: ["a"],
      "credentials-file": "c",
      "post-quantum": true,
      name: "x",
      "overwrite-dns": true,
      "transport-loglevel": "warn",
    });
  });

  it("reads booleans alone or after =, in Go's spellings", () => {
    expect(read("--no-tls-verify").values).toEqual({ "no-tls-verify": true });
    expect(read("--no-tls-verify=false").values).toEqual({ "no-tls-verify": false });
    expect(read("--no-tls-verify=0").values).toEqual({ "no-tls-verify": false });
    expect(read("--no-tls-verify", "false")).toMatchObject({
      words: [],
      problems: ['--no-tls-verify: takes its value after "="; --no-tls-verify=false would be right'],
    });
  });

  it("collects lists, and lets the last of other values count", () => {
    expect(read("--edge", "a:1", "--edge=b:2,c:3", "--retries", "1", "--retries", "2").values).toEqual({
      edge: ["a:1", "b:2", "c:3"],
      retries: 2,
    });
  });

  it("keeps values that look like flags or hold =, and negative ones", () => {
    expect(read("--tag", "a=b=c", "--proxy-tcp-keepalive", "-1s", "--token", "").values).toEqual({
      tag: ["a=b=c"],
      "proxy-tcp-keepalive": -1000,
      token: "",
    });
  });

  it("ends flags at --", () => {
    expect(read("run", "--", "--url", "-")).toMatchObject({ words: ["run", "--url", "-"], values: {} });
  });

  it("misses no value: neither at the end nor before another flag", () => {
    expect(read("--url").problems).toEqual(["--url: found nothing; a text would be right"]);
    expect(read("--token", "--url", "http://x")).toMatchObject({
      values: { url: "http://x" },
      problems: ["--token: found nothing; a text would be right"],
    });
  });

  it.each([
    // A slip of the keys.
    ["tokn", "token"],
    ["token_file", "token-file"],
    ["log-level", "loglevel"],
    ["metric", "metrics"],
    ["post-quantums", "post-quantum"],
    ["protcol", "protocol"],
    // A part of the name.
    ["grace", "grace-period"],
    ["edge-ip", "edge-ip-version"],
    ["connections", "ha-connections"],
    ["cert", "cacert"],
    // The name and more, or another end.
    ["tag-name", "tag"],
    ["retry", "retries"],
    ["configuration", "config"],
  ])("takes --%s for --%s", (given, meant) => {
    expect(read(`--${given}=x`).problems).toEqual([`--${given}: unknown flag; did you mean --${meant}?`]);
  });

  // No single letter, and no flag that does nothing here.
  it.each(["foo", "x", "ssl", "ssh"])("takes --%s for nothing, and shows where the flags are", (given) => {
    expect(read(`--${given}`).problems).toEqual([`--${given}: unknown flag; see underpass --help`]);
  });

  it("names the nearest of an unknown flag, and never its value", () => {
    expect(read("--tokne", "x").problems).toEqual(["--tokne: unknown flag; did you mean --token?"]);
    expect(read("--metrix=1").problems).toEqual(["--metrix: unknown flag; did you mean --metrics?"]);
    expect(read("--qqqqqqqq").problems).toEqual(["--qqqqqqqq: unknown flag; see underpass --help"]);
    const { token } = makeCredentials();
    for (const args of [["--tokne", token], [`--tokne=${token}`], [`--${token}`]]) {
      expect(read(...args).problems.join()).not.toContain(token.slice(0, 20));
    }
  });

  it("reports wrong values by flag", () => {
    expect(read("--retries", "x", "--grace-period=5").problems).toEqual([
      '--retries: found "x"; a whole number from 0 would be right',
      '--grace-period: found "5"; a duration such as "30s" or "1m30s" from 0s to 3m0s would be right',
    ]);
  });

  it("knows help, version and the switches of single commands", () => {
    expect(read("-h").switches).toEqual(["help"]);
    expect(read("--version", "--short", "--json").switches).toEqual(["version", "short", "json"]);
    expect(read("-V").switches).toEqual(["version"]);
  });

  it("tells the scrubber of every token, whichever flag it was given to", () => {
    const { token, secret } = makeCredentials();
    for (const args of [["--url", token], [`--protocol=${token}`], [token], ["--nosuch", token], ["--label", secret]]) {
      const scrubber = new Scrubber();
      readCommandLine(args, scrubber);
      expect(scrubber.scrub(`x ${token} ${secret} y`)).toBe("x [redacted] [redacted] y");
    }
    const scrubber = new Scrubber();
    readCommandLine(["--token", "plain words"], scrubber);
    expect(scrubber.scrub("say plain words")).toBe("say [redacted]");
  });
});
