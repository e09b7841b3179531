/** The health check's look at real origins on loopback. */
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { afterEach, expect, it } from "vitest";
import { probeOrigins } from "../../src/health/origin-probe.ts";
import { defaultOriginRequest } from "../../src/proxy/ingress/defaults.ts";
import type { IngressRule, Service } from "../../src/types.ts";
import { closedPort } from "../ports.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listen(server: Server): Promise<number> {
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function rule(service: Service): IngressRule {
  return { hostname: "", path: undefined, service, originRequest: defaultOriginRequest };
}

const web = (port: number): Extract<Service, { kind: "url" }> => ({
  kind: "url",
  url: new URL(`http://127.0.0.1:${port}`),
});

it("finds those up that answer anything, and those down where nothing listens; each once", async () => {
  const asked: string[] = [];
  const wellPort = await listen(
    createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(500).end();
    }),
  );
  const tcpPort = await listen(createTcpServer());
  const deadPort = await closedPort();
  const readings = await probeOrigins(
    [
      rule(web(wellPort)),
      rule(web(wellPort)),
      rule({ kind: "failover", origins: [web(wellPort), web(deadPort)] }),
      rule({ kind: "tcp", scheme: "ssh", host: "127.0.0.1", port: tcpPort }),
      rule({ kind: "status", status: 404 }),
    ],
    { environment: {}, roots: () => [] },
    new AbortController().signal,
  );
  expect(readings).toEqual([
    { origin: `http://127.0.0.1:${wellPort}`, problem: undefined, milliseconds: expect.any(Number) },
    {
      origin: `http://127.0.0.1:${deadPort}`,
      problem: expect.stringMatching(`the origin http://127.0.0.1:${deadPort} is down: nothing listens`),
      milliseconds: expect.any(Number),
    },
    { origin: `ssh://127.0.0.1:${tcpPort}`, problem: undefined, milliseconds: expect.any(Number) },
  ]);
  expect(asked).toEqual(["HEAD /"]);
});
