/** Flags, variables and files of the health check. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cli } from "../cli/fake-io.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-health-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const id = `${randomUUID()}.access`;
const secret = randomUUID();

async function tokenOf(args: readonly string[], env: Record<string, string> = {}) {
  const { io, status, tunnel } = await cli(["--url", "http://localhost:1", ...args], env);
  return { status, stderr: io.stderr.text, token: tunnel?.config.healthCheck.serviceToken };
}

describe("a service token for the health check", () => {
  it.each<[string, string[], Record<string, string>]>([
    ["flags", ["--service-token-id", id, "--service-token-secret", secret], {}],
    ["variables", [], { TUNNEL_SERVICE_TOKEN_ID: id, TUNNEL_SERVICE_TOKEN_SECRET: secret }],
    ["Cloudflare's own variables", [], { CF_ACCESS_CLIENT_ID: id, CF_ACCESS_CLIENT_SECRET: secret }],
  ])("comes by %s, and is shown nowhere", async (_name, args, env) => {
    const { status, stderr, token } = await tokenOf(args, env);
    expect([status, token?.clientId, token?.clientSecret.reveal()]).toEqual([0, id, secret]);
    expect(`${stderr}${inspect(token, { depth: 9 })}${JSON.stringify(token)}`).not.toContain(secret);
  });

  it.each([
    ["the two headers", `CF-Access-Client-Id: ${id}\nCF-Access-Client-Secret: ${secret}\n`],
    ["JSON", JSON.stringify({ client_id: id, client_secret: secret })],
  ])("comes from a file with %s", async (_name, text) => {
    const path = join(directory, "token");
    writeFileSync(path, text, { mode: 0o600 });
    const { token } = await tokenOf(["--service-token-file", path]);
    expect([token?.clientId, token?.clientSecret.reveal()]).toEqual([id, secret]);
  });

  it.each<[string, string[], string]>([
    ["an id alone", ["--service-token-id", id], "found a service token with no secret"],
    ["a secret alone", ["--service-token-secret", secret], "found a service token with no id"],
    ["what can't stand in a header", ["--service-token-id", "a b", "--service-token-secret", secret], "odd characters"],
    ["a file that is not there", ["--service-token-file", "/nowhere/token"], "--service-token-file"],
  ])("%s is an error that says what would be right", async (_name, args, message) => {
    const { status, stderr } = await tokenOf(args);
    expect([status, stderr]).toEqual([1, expect.stringContaining(message)]);
    expect(stderr).not.toContain(secret);
  });

  it.each<[string, Record<string, string>]>([
    ["an id", { CF_ACCESS_CLIENT_ID: id }],
    ["a secret", { TUNNEL_SERVICE_TOKEN_SECRET: secret }],
  ])("%s alone in the environment may be meant for another program", async (_name, env) => {
    const { status, stderr, token } = await tokenOf([], env);
    expect([status, token, stderr]).toEqual([0, undefined, expect.stringContaining("is not used")]);
    expect(stderr).not.toContain(secret);
  });

  it("of a file that a flag names counts before the environment", async () => {
    const path = join(directory, "token");
    writeFileSync(path, `CF-Access-Client-Id: ${id}\nCF-Access-Client-Secret: ${secret}\n`, { mode: 0o600 });
    const env = { CF_ACCESS_CLIENT_ID: "other", CF_ACCESS_CLIENT_SECRET: randomUUID() };
    expect((await tokenOf(["--service-token-file", path], env)).token?.clientId).toBe(id);
  });

  it("is not in a file with anything else", async () => {
    const path = join(directory, "token");
    writeFileSync(path, "nothing\n", { mode: 0o600 });
    const { status, stderr } = await tokenOf(["--service-token-file", path]);
    expect([status, stderr]).toEqual([1, expect.stringContaining("holds no service token")]);
  });
});

it("the origins are looked at where somebody asks for it", async () => {
  const origins = async (args: readonly string[]) => {
    const { tunnel } = await cli(["--url", "http://localhost:1", ...args]);
    return tunnel?.config.healthCheck.origins;
  };
  expect([await origins([]), await origins(["--health-check-origins"])]).toEqual([false, true]);
});
