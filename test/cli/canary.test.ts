/** A canary for a secret, sent through every way in; no way out may show it. */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { main } from "../../src/cli/dispatch.ts";
import { createLogger } from "../../src/cli/log.ts";
import { Scrubber } from "../../src/proxy/ingress/redact.ts";
import { Secret } from "../../src/config/secret.ts";
import { parseToken } from "../../src/config/token.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { makeCredentials, type TestCredentials } from "../config/make-credentials.ts";
import { cli, FakeIo, TextSink } from "./fake-io.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-canary-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Every spelling in which the canary would still be the canary; and parts of it. */
function spellings({ token, secret, json }: TestCredentials): readonly string[] {
  const bytes = Buffer.from(secret, "base64");
  const whole = [token, secret, json, bytes.toString("hex"), bytes.toString("base64url"), encodeURIComponent(secret)];
  return [...whole, token.slice(0, 40), token.slice(-40), secret.slice(0, 20), [...bytes.subarray(0, 8)].join(",")];
}

function expectClean(text: string, made: TestCredentials): void {
  for (const spelling of spellings(made)) expect(text).not.toContain(spelling);
}

describe("the command line", () => {
  const wrongPlaces: readonly [string, (made: TestCredentials) => readonly string[]][] = [
    ["--token, cut off", ({ token }) => ["run", "--token", token.slice(0, -7)]],
    ["--token, with a letter too many", ({ token }) => ["tunnel", "run", "--token", `${token}A`]],
    ["--token=, twice", ({ token }) => ["tunnel", "run", `--token=${token}${token}`]],
    ["an unknown flag", ({ token }) => ["run", "--tokne", token]],
    ["an unknown flag with =", ({ token }) => ["run", `--tokne=${token}`]],
    ["as a flag itself", ({ token }) => ["run", `--${token}`]],
    ["a boolean", ({ token }) => ["run", `--no-tls-verify=${token}`]],
    ["a number", ({ token }) => ["run", "--retries", token]],
    ["a duration", ({ secret }) => ["run", "--grace-period", secret]],
    ["a choice", ({ token }) => ["--url", "1", "--protocol", token]],
    ["a choice, the bare secret", ({ secret }) => ["--url", "1", "--edge-ip-version", secret]],
    ["the service", ({ token }) => ["--url", token]],
    ["the service's path", ({ token }) => ["config", "check", "--url", `http://localhost/${token}`]],
    [
      "the service's password",
      ({ secret }) => ["config", "check", "--url", `http://u:${encodeURIComponent(secret)}@localhost`],
    ],
    ["the token file's name", ({ token }) => ["run", "--token-file", token]],
    ["the credentials file's name", ({ token }) => ["tunnel", "run", "--cred-file", token, "x"]],
    ["the configuration's name", ({ token }) => ["--config", token]],
    ["a tag", ({ token }) => ["--url", "1", "--tag", token]],
    ["the log level", ({ token }) => ["run", "--loglevel", token]],
    ["a command", ({ token }) => [token]],
    ["a subcommand", ({ token }) => ["tunnel", token]],
    ["the tunnel's name", ({ token }) => ["tunnel", "run", token]],
    ["one argument too many", ({ token }) => ["tunnel", "run", "a", token]],
    ["help", ({ token }) => ["run", "--help", "--token", token]],
    ["config check", ({ token }) => ["config", "check", "--url", "1", "--token", token]],
    [
      "config check --json",
      ({ token }) => ["config", "check", "--json", "--url", "1", `--token=${token}`, "--label", token],
    ],
    ["credentials-contents", ({ json }) => ["config", "check", "--url", "1", "--credentials-contents", json, "--ui"]],
    ["broken credentials-contents", ({ json }) => ["tunnel", "run", "--credentials-contents", json.slice(0, -3)]],
    ["a flag without effect", ({ token }) => ["tunnel", "--api-key", token, "run", "--token", token]],
  ];

  it.each(wrongPlaces)("%s", async (_, argsOf) => {
    const made = makeCredentials();
    for (const before of [[], ["--loglevel", "debug"]]) {
      const { io } = await cli([...argsOf(made), ...before]);
      expect(io.stdout.text + io.stderr.text).not.toBe("");
      expectClean(io.stdout.text + io.stderr.text, made);
    }
  });

  it.each([
    ["TUNNEL_TOKEN", ["run"]],
    ["TUNNEL_TOKEN", ["tunnel", "run", "--url", "http://localhost:1"]],
    ["TUNNEL_TOKEN", ["config", "check"]],
    ["CLOUDFLARE_TUNNEL_TOKEN", ["--url", "3000"]],
    ["TUNNEL_CRED_CONTENTS", ["tunnel", "run", "x"]],
    ["TUNNEL_URL", ["tunnel"]],
    ["TUNNEL_RETRIES", ["tunnel", "run"]],
    ["TUNNEL_LABEL", ["run", "--url", "1", "--token", makeCredentials().token]],
    ["TUNNEL_SERVICE_TOKEN_SECRET", ["--url", "3000"]],
  ])("the variable %s with %j", async (variable, args) => {
    const made = makeCredentials();
    for (const value of [made.token, made.token.slice(0, -9), made.json, made.secret]) {
      const { io } = await cli(args, { [variable]: value });
      expectClean(io.stdout.text + io.stderr.text, made);
    }
  });

  it("a secret in place of a URL, whose slash would make a host and a path of it", async () => {
    let made = makeCredentials();
    while (!/^[^/]{12,30}\//.test(made.secret)) made = makeCredentials();
    for (const args of [["--url", made.secret], ["tunnel", "--url", made.secret], [`--url=${made.secret}`]]) {
      const { io } = await cli(args);
      expectClean(io.stdout.text + io.stderr.text, made);
      expect(io.stderr.text).toContain("[redacted]; an http or https URL");
    }
  });

  it("configuration files, right and wrong", async () => {
    const made = makeCredentials();
    const documents: Record<string, string> = {
      "good.toml": `[tunnel]\nlocal_addr = "a:1"\n[tunnel.cloudflare]\nmode = "named"\ntoken = "${made.token}"\n`,
      "quick.toml": `[tunnel]\nlocal_addr = "a:1"\n[tunnel.cloudflare]\ntoken = "${made.token}"\n`,
      "cut.toml": `[tunnel]\nlocal_addr = "a:1"\n[tunnel.cloudflare]\nmode = "named"\ntoken = "${made.token.slice(0, -5)}"\n`,
      "open.toml": `[tunnel.cloudflare]\ntoken = "${made.token}\n`,
      "key.toml": `[tunnel.cloudflare]\n${made.token.replace(/=+$/, "").replaceAll("+", "-")} = 1\n`,
      "other.toml": `[tunnel]\nlocal_addr = "${made.secret}"\n`,
      "good.yml": `token: ${made.token}\nurl: http://a\n`,
      "open.yml": `token: "${made.token}\nurl: http://a\n`,
      "rules.yml": [
        "ingress:",
        `  - hostname: "${made.token}"`,
        `    path: "${made.secret.replaceAll("+", "")}"`,
        `    service: "https://user:${made.secret}@localhost:1/${made.token}"`,
        `  - service: "https://user:${made.token}@localhost"`,
        `    "${made.secret}": 1`,
        "    originRequest:",
        `      requestHeaders: { set: { Authorization: "Bearer ${made.token}", X-Secret: "${made.secret}\\n" } }`,
        `      connectTimeout: "${made.secret}"`,
        `      caPool: "${made.token}"`,
      ].join("\n"),
      "headers.yml": [
        "ingress:",
        `  - service: "https://${made.token}@localhost"`,
        `    originRequest: { requestHeaders: { set: { Authorization: "Bearer ${made.token}", X-Secret: "${made.secret}" } } }`,
      ].join("\n"),
      "other.yml": `retries: ${made.token}\nloglevel: ["${made.secret}"]\n"${made.token}": 1\n`,
    };
    for (const [name, text] of Object.entries(documents)) {
      const path = join(directory, name);
      writeFileSync(path, text);
      for (const args of [
        ["--config", path],
        ["config", "check", path],
        ["config", "check", "--json", path],
        ["ingress", "validate", "--config", path],
        ["tunnel", "--config", path, "ingress", "rule", `https://a/${made.token}`],
        ["ingress", "validate", "--json", text],
        ["tunnel", "--config", path, "run", "--loglevel=debug"],
      ]) {
        const { io } = await cli(args);
        expectClean(io.stdout.text + io.stderr.text, made);
      }
    }
  });
});

describe("the log", () => {
  it("messages, fields, errors, causes and stacks, on the console, as JSON and in the file", async () => {
    const made = makeCredentials();
    const scrubber = new Scrubber();
    for (const text of [made.secret, made.json, Buffer.from(made.secret, "base64").toString("hex")]) scrubber.add(text);
    const error = new Error(`deep ${made.secret}`, { cause: new Error(made.token) });
    for (const format of ["console", "json"] as const) {
      const logfile = join(directory, `${format}.log`);
      const sink = new TextSink();
      const settings = {
        level: "debug",
        format,
        colours: true,
        logfile,
        logDirectory: undefined,
        fileLevel: "debug",
        fileFormat: format,
        warnings: [],
      } as const;
      const logger = createLogger(settings, sink, scrubber);
      logger.info(`message ${made.token} and ${made.secret}`);
      logger.error("fields", {
        error,
        token: made.token,
        [made.token]: 1,
        nested: { deep: [made.json, { secret: made.secret }] },
        credentials: parseToken(made.token),
        bytes: Buffer.from(made.secret, "base64"),
        hidden: new Secret(made.secret),
        url: `https://x/?t=${encodeURIComponent(made.token)}`,
      });
      await logger.end();
      const everything = sink.text + readFileSync(logfile, "utf8");
      expect(everything).toContain("[redacted]");
      expectClean(everything, made);
    }
  });
});

describe("errors as programs see them", () => {
  it("show nothing when inspected", () => {
    const made = makeCredentials();
    for (const token of [made.token.slice(0, -4), made.token.slice(4), `${made.token}x`, made.json]) {
      let thrown: unknown;
      try {
        parseToken(token);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(Error);
      expectClean(inspect(thrown, { depth: Number.POSITIVE_INFINITY, showHidden: true }), made);
    }
  });
});

describe("a tunnel that runs", () => {
  let edge: MockEdge | undefined;
  afterEach(() => edge?.close());

  it("shows it nowhere: not when the edge quotes it back, nor in what it serves", async () => {
    edge = await startMockEdge({ acceptAnyToken: true });
    const made = makeCredentials();
    const logfile = join(directory, "run.log");
    const io = new FakeIo({ TUNNEL_TOKEN: made.token });
    edge.fail({ kind: "refuse", cause: `Unauthorized: ${made.secret} of ${made.token}`, shouldRetry: true });
    edge.fail({ kind: "exception", reason: `no ${made.token}` });
    const edges = ["--edge", edge.edgeAddress, "--edge", edge.edgeAddress, "--cacert", await edge.caFile()];
    const logs = ["--loglevel", "debug", "--logfile", logfile, "--metrics", "127.0.0.1:0"];
    const running = main(["tunnel", ...edges, ...logs, "run", "--url", "http_status:404"], io);
    await edge.registered(1);
    await edge.fetch(`/?token=${encodeURIComponent(made.token)}`, {
      headers: { authorization: `Bearer ${made.token}` },
    });
    const metrics = /Starting metrics server on (\S+)\/metrics/.exec(io.stderr.text)?.[1];
    const served = await Promise.all(
      ["metrics", "ready", "healthcheck", "quicktunnel"].map(async (path) =>
        (await fetch(`http://${metrics}/${path}`)).text(),
      ),
    );
    io.signal("SIGTERM");
    io.signal("SIGINT");
    expect(await running).toBe(0);
    expect(io.stderr.text).toContain("Registered tunnel connection");
    expect(io.stderr.text).toContain("[redacted]");
    expectClean(io.stdout.text + io.stderr.text + readFileSync(logfile, "utf8") + served.join(""), made);
  });

  it("quick tunnels: the secret of the service's answer stays inside", async () => {
    edge = await startMockEdge({ acceptAnyToken: true });
    const made = makeCredentials();
    const result = {
      id: made.tunnelId,
      hostname: "a-b.example.com",
      account_tag: made.accountTag,
      secret: made.secret,
    };
    const service = createServer((_request, response) => response.end(JSON.stringify({ success: true, result })));
    service.listen(0, "127.0.0.1");
    await once(service, "listening");
    const address = service.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    edge.fail({ kind: "refuse", cause: `no ${made.secret}`, shouldRetry: true });
    const io = new FakeIo();
    const flags = [
      "--edge",
      edge.edgeAddress,
      "--cacert",
      await edge.caFile(),
      "--quick-service",
      `http://127.0.0.1:${port}`,
    ];
    const running = main(["tunnel", "--url", "http_status:404", "--loglevel", "debug", ...flags], io);
    await edge.registered(1);
    io.signal("SIGTERM");
    expect(await running).toBe(0);
    service.closeAllConnections();
    service.close();
    expect(io.stdout.text).toBe("https://a-b.example.com\n");
    expect(io.stderr.text).toContain("no [redacted]");
    expectClean(io.stdout.text + io.stderr.text, made);
  });
});
