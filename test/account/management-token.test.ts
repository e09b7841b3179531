/** cert.pem, and the access token that the API gives for it: an API of this test's own on loopback. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requestManagementToken } from "../../src/account/management-token.ts";
import { readOriginCert } from "../../src/account/origin-cert.ts";

const apiToken = randomBytes(20).toString("hex");
const tunnelId = "5f6a1f3e-0000-4000-8000-00000000000a";

const certPem = (content: unknown, type = "ARGO TUNNEL TOKEN"): string =>
  `-----BEGIN ${type}-----\n${Buffer.from(JSON.stringify(content)).toString("base64")}\n-----END ${type}-----\n`;
const good = { zoneID: "zone", accountID: "account", apiToken };

let server: http.Server;
let answer: (response: http.ServerResponse) => void;
const requests: { line: string; headers: http.IncomingHttpHeaders }[] = [];

beforeEach(async () => {
  requests.length = 0;
  server = http.createServer((request, response) => {
    requests.push({ line: `${request.method} ${request.url}`, headers: request.headers });
    answer(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const ask = (signal?: AbortSignal) =>
  requestManagementToken({
    cert: readOriginCert(certPem(good), "cert.pem"),
    apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/client/v4/`,
    tunnelId,
    resource: "logs",
    userAgent: "underpass/test",
    ...(signal === undefined ? {} : { signal }),
  });

const json = (status: number, body: unknown) => (response: http.ServerResponse) =>
  void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));

describe("cert.pem", () => {
  it("is read among other blocks", () => {
    const other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const cert = readOriginCert(`${other}${certPem({ ...good, endpoint: "FED" })}${other}`, "cert.pem");
    expect(cert).toMatchObject({ accountId: "account", endpoint: "fed" });
    expect(cert.apiToken.reveal()).toBe(apiToken);
  });

  it.each([
    ["no token", "", /found 0 blocks/],
    ["two", certPem(good).repeat(2), /found 2 blocks/],
    ["no JSON", certPem(good).replace(/\n[^-]+\n/, "\nAAAA\n"), /no accountID/],
    ["no account", certPem({ ...good, accountID: "" }), /no accountID/],
    ["an account that is a path", certPem({ ...good, accountID: "../x" }), /no accountID/],
    ["no token inside", certPem({ ...good, apiToken: undefined }), /no apiToken/],
  ])("%s", (_name, text, message) => {
    expect(() => readOriginCert(text, "cert.pem")).toThrow(message);
    expect(() => readOriginCert(text, "cert.pem")).not.toThrow(apiToken);
  });
});

describe("the access token", () => {
  it("is asked for as cloudflared asks", async () => {
    answer = json(200, { success: true, result: "the token", errors: [] });
    expect(await ask()).toBe("the token");
    expect(requests).toMatchObject([
      {
        line: `POST /client/v4/accounts/account/cfd_tunnel/${tunnelId}/management/logs`,
        headers: {
          authorization: `Bearer ${apiToken}`,
          accept: "application/json;version=1",
          "user-agent": "underpass/test",
        },
      },
    ]);
  });

  it.each([
    [401, { success: false, errors: [{ code: 10000, message: "Authentication error" }] }, /not accepted \(10000 Auth/],
    [404, { success: false }, /no such tunnel/],
    [500, "oops", /HTTP status 500/],
    [200, { success: false, result: "x" }, /HTTP status 200/],
    [200, { success: true, result: 3 }, /HTTP status 200/],
    [302, {}, /HTTP status 302/],
    [200, { success: true, result: "x".repeat(100_000) }, /HTTP status 200/],
  ])("%i %j is an error", async (status, body, message) => {
    answer = json(status, body);
    const error = await ask().then(String, (reason: unknown) => reason as Error & { code: string });
    expect(error).toMatchObject({ code: "ERR_UNDERPASS_API", message: expect.stringMatching(message) as string });
  });

  it("an API that does not answer is one, too; a signal ends the asking", async () => {
    answer = (response) => response.destroy();
    await expect(ask()).rejects.toThrow(/can't ask http:\/\/127/);
    const stop = new AbortController();
    answer = () => stop.abort();
    await expect(ask(stop.signal)).rejects.toThrow(/abort/);
  });
});
