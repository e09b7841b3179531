/** Visitors in this process, and the life of an edge, against a connector whose HTTP/2 is Node's. */
import type { ServerHttp2Stream } from "node:http2";
import net from "node:net";
import { describe, expect, it } from "vitest";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import { originHead, startNodeConnector } from "./node-connector.ts";
import { start, textOf } from "./start.ts";

describe("visitors in this process", () => {
  it("fetch with a body, a stream, an abort", async () => {
    const edge = await start();
    const lengths: unknown[] = [];
    const codes: number[] = [];
    await startNodeConnector(edge, {
      onStream(stream, headers) {
        lengths.push(headers["content-length"]);
        stream.respond(originHead(200, { "X-Scheme": String(headers["x-forwarded-proto"]) }));
        stream.on("close", () => codes.push(stream.rstCode));
        if (headers[":path"] === "/hold") stream.write("held");
        else stream.pipe(stream);
      },
    });
    await edge.registered(1);
    const response = await edge.fetch("https://app.example.com/", { method: "POST", body: "whole" });
    expect(response.headers.get("x-scheme")).toBe("https");
    expect(await response.text()).toBe("whole");
    const init = { method: "POST", body: new Blob(["in ", "parts"]).stream(), duplex: "half" };
    expect(await textOf(edge, "/", init)).toBe("in parts");
    expect(lengths).toEqual(["5", undefined]);
    const abort = new AbortController();
    const held = await edge.fetch("/hold", { signal: abort.signal });
    const reader = held.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("held");
    abort.abort();
    await expect(reader?.read()).rejects.toThrow();
    await expect.poll(() => codes.at(-1)).toBe(8);
  });

  it("open streams with exactly their fields", async () => {
    const edge = await start();
    await startNodeConnector(edge, {
      onStream(stream, headers) {
        stream.respond({ ":status": 200, "x-got": String(headers["x-mine"]) });
        stream.end("ok");
      },
    });
    await edge.registered(1);
    const stream = edge.openStream({ authority: "a.test", fields: [["x-mine", "1"]], end: true });
    expect(await stream.head).toMatchObject({ status: 200, fields: expect.arrayContaining([["x-got", "1"]]) });
    expect(Buffer.concat((await stream.toArray()) as Buffer[]).toString()).toBe("ok");
    expect(() => edge.openStream({ authority: "a.test" }, { connIndex: 3 })).toThrow("no connection");
  });

  it("open TCP streams, and hear of refusals", async () => {
    const edge = await start();
    await startNodeConnector(edge, {
      onStream(stream, headers) {
        if (headers[":authority"] === "10.0.0.1:1") {
          const meta = '{"src":"cloudflared","flow_rate_limited":true}';
          stream.respond({ ":status": 502, "cf-cloudflared-response-meta": meta }, { endStream: true });
          return;
        }
        stream.respond(originHead(200));
        stream.pipe(stream);
      },
    });
    await edge.registered(1);
    const stream = await edge.connectTcp("10.0.0.1:22");
    stream.end("ping");
    expect(Buffer.concat((await stream.toArray()) as Buffer[]).toString()).toBe("ping");
    await expect(edge.connectTcp("10.0.0.1:1")).rejects.toThrow("limit of flows");
  });

  it("push a configuration to each connector once", async () => {
    const edge = await start();
    const bodies: string[] = [];
    const onStream = (stream: ServerHttp2Stream): void => {
      let body = "";
      stream.on("data", (chunk: Buffer) => (body += chunk.toString()));
      stream.on("end", () => {
        bodies.push(body);
        stream.respond({ ":status": 200 });
        stream.end('{"lastAppliedVersion":7,"err":null}');
      });
    };
    const clientId = crypto.randomUUID();
    const token = edge.issueToken();
    await startNodeConnector(edge, { token, clientId, connIndex: 0, onStream });
    await startNodeConnector(edge, { token, clientId, connIndex: 1, onStream });
    await edge.registered(2);
    const results = await edge.pushConfiguration(7, { ingress: [] });
    expect(results).toEqual([{ clientId, status: 200, lastAppliedVersion: 7, error: null }]);
    expect(bodies).toEqual(['{"version":7,"config":{"ingress":[]}}']);
    await edge.pushConfiguration(8, '{"broken":');
    expect(bodies[1]).toBe('{"version":8,"config":{"broken":}');
  });
});

describe("the edge", () => {
  it("rejects a port that is taken, and leaves nothing open", async () => {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no address");
    await expect(startMockEdge({ quickPort: address.port })).rejects.toThrow("EADDRINUSE");
    server.close();
  });

  it("ends waits when it closes, and says what it saw when they take too long", async () => {
    const edge = await start();
    await expect(edge.registered(1, { timeoutMs: 10 })).rejects.toThrow("connections: none");
    const waiting = edge.registered(1);
    const rejected = expect(waiting).rejects.toThrow("closed");
    await edge.close();
    await rejected;
  });

  it("closes with requests in flight", async () => {
    const edge = await start();
    const connector = await startNodeConnector(edge, { onStream: (stream) => stream.respond(originHead(200)) });
    await edge.registered(1);
    const response = await fetch(edge.publicUrl);
    const broken = expect(response.text()).rejects.toThrow();
    await edge.close();
    await broken;
    await connector.closed;
  });
});
