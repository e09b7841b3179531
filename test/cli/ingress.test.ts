/** `ingress validate` and `ingress rule`, ours and under `tunnel`. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli } from "./fake-io.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-cli-ingress-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

async function run(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const { status, io, tunnel } = await cli(args);
  expect(tunnel).toBeUndefined();
  return { status, out: io.stdout.text, err: io.stderr.text.replaceAll("underpass: ", "") };
}

const RULES = `tunnel: 6ff42ae2-765d-4adf-8112-31c55c1551ef
ingress:
  - hostname: a.example.com
    path: ^/x
    service: http://localhost:80
  - hostname: "*.b.example.com"
    service: ssh://localhost
  - hostname: "*"
    path: ü$
    service: [http://h:1, unix:/run/h]
  - service: http_status:404
`;

describe("ingress validate", () => {
  it.each([[["ingress", "validate"]], [["tunnel", "ingress", "validate"]]])("says OK: %j", async (words) => {
    const path = write("good.yml", RULES);
    expect(await run("--config", path, ...words)).toEqual({
      status: 0,
      out: `Validating rules from ${path}\nOK\n`,
      err: "",
    });
  });

  it("lists unknown keys with their places, and is content", async () => {
    const path = write("keys.yml", `${RULES}    originRequest: { nosuch: 1 }\nretires: 1\n`);
    expect(await run("ingress", "validate", "--config", path)).toEqual({
      status: 0,
      out:
        `Validating rules from ${path}\n` +
        "Warning: unused keys detected in your config file. Here is a list of unused keys:\n" +
        `${path}:13:1: retires: unknown key retires is ignored; did you mean retries?\n` +
        `${path}:12:22: ingress[3].originRequest.nosuch: rule 4: unknown key "nosuch" is ignored\n`,
      err: "",
    });
  });

  it("warns of what has no effect, and says OK", async () => {
    const path = write("odd.yml", "ingress:\n  - service: http://u:p@h\nwarp-routing: { enabled: true }\n");
    expect((await run("ingress", "validate", "--config", path)).out.split("\n").slice(1)).toEqual([
      `Warning: ${path}:2:5: ingress[0].service: rule 1: the user name and password in the service are ignored`,
      expect.stringMatching(/^Warning: .*odd\.yml:3:17: warp-routing\.enabled: is obsolete/),
      "OK",
      "",
    ]);
  });

  it("says all that is wrong, each with its place", async () => {
    const path = write("bad.yml", "ingress:\n  - hostname: a:1\n    service: localhost:80\n");
    const { status, out, err } = await run("tunnel", "--config", path, "ingress", "validate");
    expect([status, out]).toEqual([1, `Validating rules from ${path}\n`]);
    const lines = err.trimEnd().split("\n");
    expect(lines).toEqual([
      expect.stringContaining(`Validation failed: ${path}:2:5: ingress[0].hostname: rule 1 (a:1): found a port`),
      expect.stringContaining(`Validation failed: ${path}:2:5: ingress[0]: rule 1 (a:1): the last rule must match`),
      expect.stringContaining(`Validation failed: ${path}:3:5: ingress[0].service: rule 1 (a:1): found "localhost:80"`),
    ]);
  });

  it("reads TOML, and the first of cloudflared's default files", async () => {
    const toml = write("u.toml", '[[tunnel.ingress]]\nservice = "http_status:404"\n');
    expect((await run("ingress", "validate", "--config", toml)).out).toBe(`Validating rules from ${toml}\nOK\n`);
    const folder = join(directory, ".cloudflared");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "config.yaml"), RULES);
    const { io } = await cli(["ingress", "validate"], { HOME: directory });
    expect(io.stdout.text).toBe(`Validating rules from ${join(folder, "config.yaml")}\nOK\n`);
  });

  it("has cloudflared's sentences for what is not there", async () => {
    const path = write("url.yml", "url: http://a\n");
    expect(await run("ingress", "validate")).toMatchObject({
      status: 1,
      err: expect.stringMatching(/^No configuration file was found\. Please create one/),
    });
    expect(await run("ingress", "validate", "--config", path)).toEqual({
      status: 1,
      out: `Validating rules from ${path}\n`,
      err: "Validation failed: The config file doesn't contain any ingress rules\n",
    });
    expect(await run("ingress", "validate", "--config", write("good.yml", RULES), "--url", "http://a")).toMatchObject({
      status: 1,
      err: "You can't set the --url flag (or $TUNNEL_URL) when using multiple-origin ingress rules\n",
    });
    expect(await run("ingress", "validate", "--config", write("no.yml", "a: [\n"))).toMatchObject({
      status: 1,
      out: "",
      err: expect.stringMatching(/no\.yml:2:1: not valid YAML/),
    });
  });

  it("takes rules as JSON instead", async () => {
    const head = "Validating rules from cmdline flag --json\n";
    const json = '{"ingress":[{"service":"http_status:404"}]}';
    for (const args of [["--json", json], [`--json=${json}`], ["-j", json]]) {
      expect(await run("tunnel", "ingress", "validate", ...args)).toEqual({ status: 0, out: `${head}OK\n`, err: "" });
    }
    const { io } = await cli(["ingress", "validate"], {
      TUNNEL_INGRESS_VALIDATE_JSON: '{"ingress":[{"service":"x"}]}',
    });
    expect(io.stdout.text).toBe(head);
    expect(io.stderr.text).toContain("Validation failed: --json: ingress[0].service: rule 1: found");
    for (const text of ["{", "[]", "{}"]) expect((await run("ingress", "validate", "--json", text)).status).toBe(1);
  });
});

describe("ingress rule", () => {
  it.each([
    ["https://a.example.com/x/y", 0, "\thostname: a.example.com\n\tpath: ^/x\n\tservice: http://localhost:80\n"],
    // As a visitor sends it: decoded, not tidied up; any case, any port.
    ["https://A.EXAMPLE.com:8443/%78?q=1#f", 0, undefined],
    ["https://a.example.com/y/../x", 3, "\tservice: http_status:404\n"],
    ["https://a.example.com/y?/x", 3, undefined],
    ["ssh://c.b.example.com", 1, "\thostname: *.b.example.com\n\tservice: ssh://localhost:22\n"],
    ["https://u:p@b.example.com/ü", 2, "\thostname: *\n\tpath: ü$\n\tservice: http://h:1,unix:/run/h\n"],
    ["https://b.example.com/%C3%BC", 2, undefined],
  ])("%s", async (url, index, rule) => {
    const path = write("good.yml", RULES);
    for (const words of [["ingress"], ["tunnel", "ingress"]]) {
      const { status, out, err } = await run(...words, "rule", url, "--config", path);
      expect([status, err]).toEqual([0, ""]);
      const head = `Using rules from ${path}\nMatched rule #${index}\n`;
      expect(out.slice(0, head.length)).toBe(head);
      if (rule !== undefined) expect(out.slice(head.length)).toBe(rule);
    }
  });

  it("wants one URL with a scheme, and rules that are right", async () => {
    const path = write("good.yml", RULES);
    expect(await run("ingress", "rule", "a.example.com/x", "--config", path)).toEqual({
      status: 1,
      out: "",
      err: "a.example.com/x doesn't have a hostname, consider adding a scheme\n",
    });
    expect((await run("ingress", "rule", "--config", path)).err).toContain(
      "expects a single argument, the URL to test",
    );
    expect((await run("ingress", "rule", "http://a", "http://b", "--config", path)).status).toBe(1);
    const bad = write("bad.yml", "ingress:\n  - hostname: a\n    service: http://b\n");
    expect(await run("ingress", "rule", "http://a", "--config", bad)).toMatchObject({
      status: 1,
      out: `Using rules from ${bad}\n`,
      err: expect.stringContaining("Validation failed: "),
    });
  });
});
