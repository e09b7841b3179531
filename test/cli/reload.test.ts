/** The configuration file is read again while a tunnel runs. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCommandLine } from "../../src/cli/flags.ts";
import { loadPlan, type LoadRequest } from "../../src/cli/load.ts";
import { createReloader, type Reloader } from "../../src/cli/reload.ts";
import { Scrubber } from "../../src/proxy/ingress/redact.ts";
import type { LogFields, Logger } from "../../src/types.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { cli, FakeIo, FakeTunnel } from "./fake-io.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-reload-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const made = makeCredentials();
const RULES = "ingress:\n  - hostname: a.example.com\n    service: http://a:1\n  - service: http_status:404\n";

interface Rig {
  readonly path: string;
  readonly tunnel: FakeTunnel;
  readonly reloader: Reloader;
  readonly lines: { level: keyof Logger; message: string; fields: LogFields | undefined }[];
  /** The messages of the lines since the last call. */
  readonly said: () => readonly string[];
  /** Resolves when the line that `pattern` matches is there. */
  readonly until: (pattern: RegExp) => Promise<void>;
}

let count = 0;

/** A tunnel that runs with this file; the file is watched, but nothing is told without a change. */
async function start(text: string, args: readonly string[] = []): Promise<Rig> {
  const path = join(directory, `config-${++count}.yml`);
  writeFileSync(path, text);
  const io = new FakeIo();
  const scrubber = new Scrubber();
  const line = readCommandLine(["tunnel", "run", "--token", made.token, "--config", path, ...args], scrubber);
  const request: LoadRequest = { line, style: "tunnel", run: true, tunnelRef: undefined };
  const loaded = await loadPlan(request, io, scrubber);
  const tunnel = new FakeTunnel(loaded.plan.config, {});
  const lines: Rig["lines"] = [];
  let wake = (): void => {};
  const log = (level: keyof Logger) => (message: string, fields?: LogFields) => {
    lines.push({ level, message: message.replaceAll(path, "config.yml"), fields });
    wake();
  };
  const logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
  const timing = { settleMs: 10, pollMs: 60_000, unwatchedPollMs: 60_000 };
  const reloader = createReloader({ request, loaded, tunnel, logger, io, scrubber, timing });
  if (reloader === undefined) throw new Error("there is no file");
  let shown = 0;
  return {
    path,
    tunnel,
    reloader,
    lines,
    said: () => {
      const messages = lines.slice(shown).map(({ level, message }) => `${level}: ${message}`);
      shown = lines.length;
      return messages;
    },
    until: async (pattern) => {
      while (!lines.some(({ message }) => pattern.test(message))) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

describe("a changed file", () => {
  it("gives the tunnel its rules, with one line about what has changed", async () => {
    const { lines, path, reloader, tunnel, until } = await start(RULES);
    writeFileSync(path, RULES.replace("http://a:1", "http://b:2"));
    await until(/reloaded/);
    expect(tunnel.ingresses).toHaveLength(1);
    expect(tunnel.ingresses[0]?.rules).toMatchObject([
      { hostname: "a.example.com", service: { url: new URL("http://b:2") } },
      { service: { status: 404 } },
    ]);
    expect(lines).toEqual([
      {
        level: "info",
        message: "Configuration reloaded: changed a.example.com",
        fields: { file: path, rules: 2 },
      },
    ]);
    // The next change is one against the new rules.
    writeFileSync(path, "ingress:\n  - service: http_status:404\n");
    await until(/removed a\.example\.com/);
    expect(tunnel.ingresses[1]?.rules).toHaveLength(1);
    reloader.close();
  });

  it("that is wrong leaves the rules, and says each line; once", async () => {
    const { path, reloader, said, tunnel, until } = await start(RULES);
    writeFileSync(path, `${RULES}retries: x\n`.replace("http://a:1", "a:1"));
    await until(/can't be used/);
    expect(said()).toEqual([
      expect.stringMatching(/^error: config\.yml:5:1: retries: found "x"; a whole number/),
      expect.stringMatching(/^error: config\.yml:3:5: ingress\[0\]\.service: rule 1 \(a\.example\.com\): found "a:1"/),
      "error: config.yml can't be used, so the configuration before goes on",
    ]);
    expect([tunnel.ingresses.length, tunnel.failedReloads]).toEqual([0, 1]);
    await reloader.reload("change");
    expect(tunnel.failedReloads).toBe(1);
    // Back to what it was: nothing to do, and nothing more to fear.
    writeFileSync(path, RULES);
    await until(/are the same/);
    expect([tunnel.ingresses.length, tunnel.failedReloads]).toEqual([0, 1]);
    reloader.close();
  });

  it.each([
    ["empty", ""],
    ["half written", "tunnel: 6ff42ae2-765d-4adf-8112-31c55c1551ef\n"],
    ["without a rule", "ingress:\n"],
    ["with a slip in its key", RULES.replace("ingress", "ingres")],
  ])("that is %s leaves the rules", async (_, text) => {
    const { path, reloader, said, tunnel } = await start(RULES);
    writeFileSync(path, text);
    await reloader.reload("change");
    expect(tunnel.ingresses).toEqual([]);
    expect(said().at(-1)).toBe("error: config.yml can't be used, so the configuration before goes on");
  });

  it("that is a pipe now leaves the rules, and holds nothing up", async () => {
    const { path, reloader, said, tunnel } = await start(RULES);
    rmSync(path);
    execFileSync("mkfifo", [path]);
    await reloader.reload("signal");
    expect(tunnel.ingresses).toEqual([]);
    expect(said()).toContain("error: config.yml: can't read config.yml: it is no regular file");
  });

  it("is read once for a burst of signals", async () => {
    const { path, reloader, said, tunnel } = await start(RULES);
    writeFileSync(path, RULES.replace("http://a:1", "http://b:2"));
    await Promise.all(Array.from({ length: 30 }, () => reloader.reload("signal")));
    expect(tunnel.ingresses).toHaveLength(1);
    expect(said()).toHaveLength(1);
  });

  it("that is gone leaves the rules", async () => {
    const { path, reloader, said, tunnel, until } = await start(RULES);
    rmSync(path);
    await until(/can't be used/);
    expect(said()[0]).toBe("error: config.yml: can't read config.yml: no such file");
    writeFileSync(path, RULES.replace("404", "410"));
    await until(/changed \*/);
    expect(tunnel.ingresses).toHaveLength(1);
    reloader.close();
  });

  it("names what counts only after a restart, and new warnings", async () => {
    const { path, reloader, said, until } = await start(`protocol: http2\nnosuch: 1\n${RULES}`);
    writeFileSync(path, `retries: 3\nnosuch: 1\nother: 1\n${RULES}`);
    await until(/are the same/);
    expect(said()).toEqual([
      "warn: config.yml:3:1: other: unknown key other is ignored",
      "warn: Changes that count only after a restart: config.yml:1:1: protocol, config.yml:1:1: retries",
      "info: Configuration read again: the rules of config.yml are the same",
    ]);
    reloader.close();
  });

  it("is not used where the tunnel has other rules, or can't start them", async () => {
    const { path, reloader, said, tunnel, until } = await start(RULES);
    tunnel.nextUpdate = { result: "refused", reason: "the rules come from elsewhere" };
    writeFileSync(path, RULES.replace("404", "410"));
    await until(/elsewhere/);
    expect(said()).toEqual([
      "warn: The rules of config.yml have changed, but are not used: the rules come from elsewhere",
    ]);
    tunnel.nextUpdate = { result: "failed", reason: "no" };
    writeFileSync(path, RULES.replace("404", "411"));
    await until(/go on: no$/);
    // What was not used is still a change.
    tunnel.nextUpdate = { result: "applied" };
    await reloader.reload("signal");
    expect(said().at(-1)).toBe("info: Configuration reloaded: changed *");
    reloader.close();
  });

  it("changes one service too, where there are no rules", async () => {
    const { path, reloader, tunnel, until } = await start("url: http://a:1\noriginRequest: { connectTimeout: 5s }\n");
    writeFileSync(path, "url: http://b:1\noriginRequest: { connectTimeout: 6s }\n");
    await until(/changed \*/);
    expect(tunnel.ingresses[0]?.rules).toMatchObject([
      { service: { url: new URL("http://b:1") }, originRequest: { connectTimeoutMs: 6000 } },
    ]);
    reloader.close();
  });

  it("is left alone once closed", async () => {
    const { path, reloader, lines } = await start(RULES);
    reloader.close();
    writeFileSync(path, "ingress: 3");
    await reloader.reload("signal");
    expect(lines).toEqual([]);
  });
});

describe("SIGHUP", () => {
  it("reads the file again, also when it is the same", async () => {
    const path = join(directory, "hup.yml");
    writeFileSync(path, RULES);
    const { io, tunnel } = await cli(["run", "--token", made.token, "--config", path], {}, (tunnel, io) => {
      // Before it is ready, and after.
      io.hangup();
      const look = (): void => {
        if (!io.stderr.text.includes("are the same")) return;
        io.stderr.off("said", look);
        writeFileSync(path, RULES.replace("404", "410"));
        io.hangup();
        io.stderr.on("said", finish);
      };
      const finish = (): void => {
        if (io.stderr.text.includes("Configuration reloaded: changed *")) tunnel.finish();
      };
      io.stderr.on("said", look);
    });
    expect(tunnel?.ingresses).toHaveLength(1);
    expect(io.listeners).toBe(0);
  });

  it("ends a tunnel without a file, and one whose terminal is gone", async () => {
    const path = join(directory, "hup.yml");
    writeFileSync(path, RULES);
    for (const [args, terminalGone] of [
      [["--url", "1"], false],
      [["--config", path], true],
    ] as const) {
      const { io, tunnel } = await cli(["run", "--token", made.token, ...args], {}, (tunnel, io) => {
        io.hangup(terminalGone);
        tunnel.finish();
      });
      expect(tunnel?.closes).toEqual([undefined]);
      expect(io.stderr.messages).toContain("Initiating graceful shutdown due to signal hangup ...");
    }
  });
});
