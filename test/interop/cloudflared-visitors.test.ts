/** A real cloudflared, where CLOUDFLARED_BIN names one, between the mock edge's public listener and an origin: what a visitor sees. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";

const binary = process.env.CLOUDFLARED_BIN ?? "";

describe.skipIf(binary === "").each(["http2", "quic"] as const)(
  "cloudflared behind the mock edge, over %s",
  (protocol) => {
    let home = "";
    const children: ChildProcess[] = [];
    const origin = http.createServer((request, response) => {
      const hash = createHash("sha256");
      request.on("data", (chunk: Buffer) => hash.update(chunk));
      request.on("end", () => response.end(`${request.method} ${request.url} ${hash.digest("hex")}`));
    });
    let edge: MockEdge;
    let originUrl = "";

    function start(args: readonly string[], env: Record<string, string>): ChildProcess {
      const child = spawn(
        binary,
        [
          "tunnel",
          ...Array.from({ length: 4 }, () => `--edge=${edge.edgeAddress}`),
          `--cacert=${join(home, "ca.pem")}`,
          `--protocol=${protocol}`,
          "--no-autoupdate",
          "--no-prechecks",
          "--metrics=127.0.0.1:0",
          "--grace-period=2s",
          `--url=${originUrl}`,
          ...args,
        ],
        { env: { PATH: process.env.PATH ?? "", HOME: home, ...env }, stdio: "ignore" },
      );
      children.push(child);
      return child;
    }

    beforeAll(async () => {
      home = mkdtempSync(join(tmpdir(), "underpass-cloudflared-"));
      edge = await startMockEdge();
      new WebSocketServer({ server: origin }).on("connection", (socket) =>
        socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),
      );
      origin.listen(0, "127.0.0.1");
      await once(origin, "listening");
      originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
      writeFileSync(join(home, "ca.pem"), edge.caPem);
      start(["run"], { TUNNEL_TOKEN: edge.issueToken() });
      await edge.registered(4);
    });

    afterAll(async () => {
      for (const child of children) {
        if (child.exitCode === null) {
          child.kill("SIGKILL");
          await once(child, "exit");
        }
      }
      await edge.close();
      origin.closeAllConnections();
      origin.close();
      rmSync(home, { recursive: true, force: true });
    });

    it("serves 200 requests at once over four connections", async () => {
      const bodies = await Promise.all(
        Array.from({ length: 200 }, async (_, i) => (await fetch(`${edge.publicUrl}/${i}`)).text()),
      );
      expect(bodies.every((body, i) => body.startsWith(`GET /${i} `))).toBe(true);
    });

    it("takes an upload of 5 MB", async () => {
      const body = randomBytes(5_000_000);
      const response = await fetch(`${edge.publicUrl}/upload`, { method: "POST", body: new Uint8Array(body) });
      expect(await response.text()).toBe(`POST /upload ${createHash("sha256").update(body).digest("hex")}`);
    });

    it("carries a WebSocket", async () => {
      const socket = new WebSocket(edge.publicUrl.replace("http", "ws"));
      const messages: Buffer[] = [];
      socket.on("message", (data: Buffer) => messages.push(data));
      await once(socket, "open");
      const large = randomBytes(300_000);
      socket.send("hello");
      socket.send(large);
      await expect.poll(() => messages.length).toBe(2);
      expect(messages[0]?.toString()).toBe("hello");
      expect(messages[1]?.equals(large)).toBe(true);
      socket.close(1000, "done");
      expect((await once(socket, "close"))[0]).toBe(1000);
    });

    it("carries a TCP stream by CONNECT", async () => {
      const target = net.createServer((socket) => socket.pipe(socket));
      target.listen(0, "127.0.0.1");
      await once(target, "listening");
      const address = `127.0.0.1:${(target.address() as AddressInfo).port}`;
      const request = http.request(edge.publicUrl, { method: "CONNECT", path: address });
      request.end();
      const [response, socket] = (await once(request, "connect")) as [http.IncomingMessage, net.Socket];
      expect(response.statusCode).toBe(200);
      socket.write("over TCP");
      expect(String((await once(socket, "data"))[0])).toBe("over TCP");
      socket.destroy();
      target.close();
    });

    it("gets a quick tunnel, and leaves in order", async () => {
      const child = start([`--quick-service=${edge.quickUrl}`], {});
      await edge.until(() => edge.connections.filter(({ state }) => state === "registered").length === 5);
      const quick = edge.connections.at(-1);
      expect(quick?.registration?.credentials).toBe("valid");
      child.kill("SIGTERM");
      await quick?.closed;
      expect((await once(child, "exit"))[0]).toBe(0);
    });
  },
);
