/** Mock edges that end with the test, and short answers for their connectors. */
import type { ServerHttp2Stream } from "node:http2";
import { onTestFinished } from "vitest";
import { type MockEdge, type MockEdgeOptions, startMockEdge } from "../../src/mock-edge/index.ts";
import { originHead } from "./node-connector.ts";

export async function start(options: MockEdgeOptions = {}): Promise<MockEdge> {
  const edge = await startMockEdge(options);
  onTestFinished(() => edge.close());
  return edge;
}

export function answering(text: string) {
  return (stream: ServerHttp2Stream): void => {
    stream.respond(originHead(200));
    stream.end(text);
  };
}

export async function textOf(edge: MockEdge, input = "/", init?: RequestInit): Promise<string> {
  return await (await edge.fetch(input, init)).text();
}
