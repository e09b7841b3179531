/** The connectivity check beside a tunnel (cases PRE of the list), against the mock edge. */
import { afterEach, describe, expect, it } from "vitest";
import { connect } from "../../../src/index.ts";
import { type MockEdge, startMockEdge } from "../../../src/mock-edge/index.ts";
import { cli } from "../../cli/fake-io.ts";

describe("the connectivity check", () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function startEdge(options: Parameters<typeof startMockEdge>[0]): Promise<MockEdge> {
    const edge = await startMockEdge(options);
    closers.push(() => edge.close());
    return edge;
  }

  async function check(edge: MockEdge): Promise<{ status: number; text: string; json: string }> {
    const args = ["--edge", edge.edgeAddress, "--cacert", await edge.caFile(), "--api-url", edge.quickUrl];
    const table = await cli(["check", ...args, "--quick-service", edge.quickUrl]);
    const json = await cli(["check", "--json", ...args, "--quick-service", edge.quickUrl]);
    return { status: table.status, text: table.io.stdout.text, json: json.io.stdout.text };
  }

  it("PRE-01: shakes hands over both transports and says no more; a tunnel beside it notices nothing", async () => {
    const edge = await startEdge({});
    const tunnel = await connect({
      token: edge.issueToken(),
      edge: edge.edgeAddress,
      cacert: edge.caPem,
      origin: () => new Response("served"),
      healthCheck: false,
    });
    closers.push(() => tunnel.close({ grace: 0 }));
    const { status, text } = await check(edge);
    expect(status).toBe(0);
    expect(text).toContain("A tunnel works from here over QUIC");
    expect(text).toMatch(/^TCP .* ok /m);
    await edge.until(() => edge.connections.length === 1);
    expect(edge.registrations).toHaveLength(1);
    expect(tunnel.connections).toMatchObject([{ state: "registered", reconnects: 0 }]);
    expect(await (await edge.fetch("/")).text()).toBe("served");
  });

  it("PRE-02: where TCP is closed and QUIC is open it warns, names QUIC, and is no failure", async () => {
    const edge = await startEdge({ protocols: ["quic"] });
    const { json, status, text } = await check(edge);
    expect(status).toBe(0);
    expect(text).toMatch(/QUIC/);
    const report: unknown = JSON.parse(json);
    expect(report).toMatchObject({
      checks: expect.arrayContaining([
        expect.objectContaining({ component: expect.stringMatching(/TCP/), status: "warning" }),
        expect.objectContaining({ component: expect.stringMatching(/UDP|QUIC/), status: "ok" }),
      ]),
    });
  });
});
