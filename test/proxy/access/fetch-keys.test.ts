import type http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import { afterEach, describe, expect, it, vi } from "vitest";
import { AccessKeysError } from "../../../src/proxy/access/errors.ts";
import { fetchKeys } from "../../../src/proxy/access/fetch-keys.ts";
import { MAX_KEYS, MAX_KEYS_BYTES } from "../../../src/proxy/access/limits.ts";
import { Cleanup, portOf } from "../harness.ts";
import { keys, openTeam } from "./team.ts";
import { closedPort } from "../../ports.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const patient = (): AbortSignal => AbortSignal.timeout(10_000);

it("has the team's keys by their ids", async () => {
  const team = await openTeam(cleanup);
  team.published = [keys.first, keys.second];
  const found = await fetchKeys(team.url, patient());
  expect([...found.keys()]).toEqual([keys.first.kid, keys.second.kid]);
  expect(found.get(keys.first.kid)?.type).toBe("public");
  expect(team.headers["accept"]).toBe("application/json");
});

describe("services that give no keys", () => {
  const huge = Buffer.alloc(64 * 1024, " ");
  const cases: [string, http.RequestListener, RegExp][] = [
    ["not found", (_, response) => response.writeHead(404).end("not here"), /status 404.*teamName/],
    ["broken", (_, response) => response.writeHead(500).end("x".repeat(100_000)), /status 500 instead of keys$/],
    ["a redirect", (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(), /status 302/],
    ["nothing", (_, response) => response.end(), /no key/],
    ["no JSON", (_, response) => response.end("<html>"), /no key/],
    ["null", (_, response) => response.end("null"), /no key/],
    ["a list", (_, response) => response.end("[]"), /no key/],
    ["no list of keys", (_, response) => response.end('{"keys":{"0":{}}}'), /no key/],
    ["no keys", (_, response) => response.end('{"keys":[]}'), /no key/],
    [
      "keys that are none",
      (_, response) =>
        response.end('{"keys":[{"kty":"RSA","kid":"a","n":"!!!","e":"AQAB"},{"kty":"RSA","kid":"b","n":1}]}'),
      /no key/,
    ],
    ["hung up", (_, response) => response.destroy(), /can't be fetched from 127\.0\.0\.1/],
    [
      "hung up half-way",
      (_, response) => {
        response.write('{"keys":[');
        setImmediate(() => response.destroy());
      },
      /can't be fetched/,
    ],
    [
      "without end",
      (_, response) => {
        const more = (): void => {
          while (!response.destroyed && response.write(huge));
        };
        response.on("drain", more);
        more();
      },
      new RegExp(`more than ${MAX_KEYS_BYTES} bytes`),
    ],
  ];
  it.each(cases)("%s", async (_name, answer, message) => {
    const team = await openTeam(cleanup);
    team.answer = answer;
    const failure = await fetchKeys(team.url, patient()).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(AccessKeysError);
    expect(String(failure)).toMatch(message);
    expect(team.asked).toBe(1);
  });

  it("nobody there", async () => {
    const url = new URL(`http://127.0.0.1:${await closedPort()}/`);
    await expect(fetchKeys(url, patient())).rejects.toThrow(/can't be fetched from .*ECONNREFUSED/);
  });

  it("says nothing: the signal ends it, and its connection", async () => {
    const team = await openTeam(cleanup);
    const asked = new Promise<http.IncomingMessage>((resolve) => {
      team.answer = resolve;
    });
    const patience = new AbortController();
    const fetching = fetchKeys(team.url, patience.signal);
    const { socket } = await asked;
    const closed = new Promise((resolve) => socket.once("close", resolve));
    patience.abort(new Error("enough"));
    await expect(fetching).rejects.toThrow("enough");
    await closed;
  });
});

it("looks at no more than so many keys", async () => {
  const team = await openTeam(cleanup);
  team.answer = (_, response) => {
    const many = Array.from({ length: MAX_KEYS + 5 }, (_each, at) => ({ ...keys.first.jwk, kid: `k${at}` }));
    response.end(JSON.stringify({ keys: many }));
  };
  expect((await fetchKeys(team.url, patient())).size).toBe(MAX_KEYS);
});

it("takes the first of two keys with one name", async () => {
  const team = await openTeam(cleanup);
  team.answer = (_, response) => {
    response.end(JSON.stringify({ keys: [keys.first.jwk, { ...keys.second.jwk, kid: keys.first.kid }] }));
  };
  const found = await fetchKeys(team.url, patient());
  const key = found.get(keys.first.kid);
  if (key === undefined) throw new Error("no key");
  expect((await crypto.subtle.exportKey("jwk", key)).n).toBe(keys.first.jwk["n"]);
});

it("goes through a proxy where the environment names one", async () => {
  const team = await openTeam(cleanup);
  const asked: (string | undefined)[] = [];
  const proxy = await cleanup.http((_, response) => response.writeHead(405).end());
  proxy.on("connect", (request: http.IncomingMessage, socket: Duplex) => {
    asked.push(request.url);
    socket.write("HTTP/1.1 200 Connected\r\n\r\n");
    const onward = net.connect(portOf(team.server), "127.0.0.1");
    for (const end of [socket, onward]) end.on("error", () => {});
    socket.pipe(onward).pipe(socket);
  });
  vi.stubEnv("http_proxy", `http://127.0.0.1:${portOf(proxy)}`);
  vi.stubEnv("no_proxy", "");
  cleanup.add(undefined, () => vi.unstubAllEnvs());
  const found = await fetchKeys(new URL("http://team.invalid/certs"), patient());
  expect([...found.keys()]).toEqual([keys.first.kid]);
  expect(asked).toEqual(["team.invalid:80"]);
});
