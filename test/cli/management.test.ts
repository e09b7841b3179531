/** `underpass management token` against an API of this test's own on loopback. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli, FakeIo } from "./fake-io.ts";

const tunnelId = "5f6a1f3e-0000-4000-8000-00000000000a";
const apiToken = randomBytes(20).toString("hex");
const token = randomBytes(20).toString("hex");
let folder: string;
let cert: string;
let api: http.Server;
let apiUrl: string;
let silent = false;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "underpass-management-"));
  cert = join(folder, "cert.pem");
  const content = Buffer.from(JSON.stringify({ zoneID: "z", accountID: "account", apiToken })).toString("base64");
  const name = "ARGO TUNNEL TOKEN";
  writeFileSync(cert, `-----BEGIN ${name}-----\n${content}\n-----END ${name}-----\n`, { mode: 0o600 });
  api = http.createServer((request, response) => {
    if (silent) return;
    const resource = new RegExp(`^/accounts/account/cfd_tunnel/${tunnelId}/management/(\\w+)$`).exec(request.url ?? "");
    const isRight = resource !== null && request.method === "POST";
    const result = isRight ? `${token}-${resource[1]}` : null;
    response.writeHead(isRight ? 200 : 404).end(JSON.stringify({ success: isRight, result }));
  });
  api.listen(0, "127.0.0.1");
  await once(api, "listening");
  apiUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
});

afterAll(() => {
  api.closeAllConnections();
  api.close();
  rmSync(folder, { recursive: true, force: true });
});

const given = () => ["--origincert", cert, "--api-url", apiUrl];

describe("underpass management token", () => {
  it.each(["logs", "host_details", "admin"])("prints one for %s, as cloudflared does", async (resource) => {
    const { io, status } = await cli(["management", "token", "--resource", resource, ...given(), tunnelId]);
    expect([status, io.stderr.text]).toEqual([0, ""]);
    expect(io.stdout.text).toBe(`{"token":"${token}-${resource}"}\n`);
  });

  it("takes the variables, and one dash", async () => {
    const env = { TUNNEL_ORIGIN_CERT: cert, TUNNEL_API_URL: apiUrl };
    const { io, status } = await cli(["management", "token", "-resource=admin", "-loglevel", "debug", tunnelId], env);
    expect([status, io.stderr.text]).toEqual([0, ""]);
    expect(JSON.parse(io.stdout.text)).toEqual({ token: `${token}-admin` });
  });

  it("says all that is wrong at once", async () => {
    const { io, status } = await cli(["management", "token", "--resource", "log", "--api-url", "ftp://x", "mine"]);
    expect(status).toBe(1);
    for (const text of [
      '--resource: found "log"; logs, host_details or admin would be right',
      'the tunnel: found "mine"; its UUID would be right',
      "--api-url: found",
    ]) {
      expect(io.stderr.text).toContain(text);
    }
  });

  it("wants a cert.pem", async () => {
    const { io, status } = await cli(["management", "token", "--resource", "logs", tunnelId]);
    expect(status).toBe(1);
    expect(io.stderr.text).toContain("no cert.pem in cloudflared's directories; --origincert FILE would be right");
  });

  it.each([
    [["token", tunnelId], /--resource: found nothing/],
    [["token", "--resource", "logs"], /the tunnel: found nothing/],
    [["tail", tunnelId], /has one command/],
    [["token", tunnelId, "more"], /has one command/],
    [["token", "--resorce", "logs", tunnelId], /--resorce: unknown flag; did you mean --resource/],
    [["token", "--resource", "logs", "--output", "out.json", tunnelId], /--output: found "out.json"/],
    [["token", "--resource"], /management: .*--resource/],
    [["token", "--resource", "logs", "5f6a1f3e-0000-4000-8000-00000000000b"], /no such tunnel/],
  ])("%j", async (args, message) => {
    const { io, status } = await cli(["management", ...args, ...given()]);
    expect(status).toBe(1);
    expect(io.stderr.text).toMatch(message);
    expect(io.stderr.text + io.stdout.text).not.toContain(apiToken);
  });

  it("ends with 0 on a signal", async () => {
    silent = true;
    const asked = once(api, "request");
    const io = new FakeIo();
    const running = cli(["management", "token", "--resource", "logs", ...given(), tunnelId], {}, undefined, io);
    await asked;
    io.signal("SIGINT");
    expect((await running).status).toBe(0);
    expect(io.stdout.text + io.stderr.text).toBe("");
    expect(io.listeners).toBe(0);
    silent = false;
  });

  it("has help", async () => {
    const asked = [["management"], ["management", "--help"], ["help", "management"]];
    for (const args of asked) {
      const { io, status } = await cli(args);
      expect(status).toBe(0);
      expect(io.stdout.text).toContain("underpass management token --resource RESOURCE [flags] TUNNEL-ID");
    }
  });
});
