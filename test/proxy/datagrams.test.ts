/** UDP sessions beside TCP streams, in one proxy. */
import { describe, expect, it, onTestFinished } from "vitest";
import { ResponseCode, readDatagramV3, writeRegistration } from "../../src/protocol/datagram/v3.ts";
import { LocalResolvers } from "../../src/proxy/local-resolvers.ts";
import type { WarpRouting } from "../../src/types.ts";
import { Harness, ORIGIN_REQUEST } from "./harness.ts";
import { RecordingObserver, TestChannel, TestEdge, UdpOrigin } from "./udp/harness.ts";
import { singleService } from "../../src/proxy/ingress/defaults.ts";

const NOWHERE = { kind: "status", status: 404 } as const;

function start(warpRouting: Partial<WarpRouting> = {}, dnsResolvers: readonly string[] = []) {
  const harness = new Harness(NOWHERE, {}, { dnsResolvers });
  onTestFinished(() => harness.proxy.close());
  const ingress = singleService(NOWHERE, ORIGIN_REQUEST);
  harness.proxy.update({ ...ingress, warpRouting: { ...ingress.warpRouting, ...warpRouting } });
  const observer = new RecordingObserver();
  const datagrams = harness.proxy.createDatagrams({ observer, icmp: undefined });
  const channel = new TestChannel();
  datagrams.attach(0, channel, 3, new TestEdge());
  return { harness, observer, datagrams, channel };
}

async function register(channel: TestChannel, id: string, port: number, address = "127.0.0.1"): Promise<number> {
  const requestId = id.repeat(16);
  channel.deliver(writeRegistration({ requestId, address, port, idleSeconds: 0, traced: false, payload: undefined }));
  const read = readDatagramV3(await channel.next());
  if (read.kind !== "response") throw new Error(`the edge got ${read.kind}`);
  return read.code;
}

describe("UDP sessions of a proxy", () => {
  it("stand under warp-routing's limit of flows, which can change meanwhile", async () => {
    const origin = await UdpOrigin.start();
    const { harness, channel, datagrams } = start({ maxActiveFlows: 1 });
    expect(await register(channel, "a", origin.port)).toBe(ResponseCode.ok);
    expect(await register(channel, "b", origin.port)).toBe(ResponseCode.tooManyFlows);
    const ingress = singleService(NOWHERE, ORIGIN_REQUEST);
    harness.proxy.update({ ...ingress, warpRouting: { ...ingress.warpRouting, maxActiveFlows: 2 } });
    expect(await register(channel, "b", origin.port)).toBe(ResponseCode.ok);
    expect(datagrams.activeSessions).toBe(2);
  });

  it("reach the same resolvers", async () => {
    const resolver = await UdpOrigin.start();
    const { channel, observer } = start({}, [`127.0.0.1:${resolver.port}`]);
    expect(await register(channel, "a", 53, "2606:4700:cf1:2000::1")).toBe(ResponseCode.ok);
    expect(observer.told).toEqual(["dnsSession", "sessionOpened 3 0"]);
    expect(() => new LocalResolvers(["resolver.example:53"])).toThrow("dnsResolvers");
  });

  it("end with it", async () => {
    const origin = await UdpOrigin.start();
    const { harness, channel, datagrams, observer } = start();
    await register(channel, "a", origin.port);
    await harness.proxy.close();
    expect(datagrams.activeSessions).toBe(0);
    expect(observer.told).toEqual(["sessionOpened 3 0", "sessionClosed 3 0"]);
  });
});
