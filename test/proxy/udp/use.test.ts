/** What a connection tells of its sessions' use, to whoever wants to end it. */
import { describe, expect, it } from "vitest";
import { sessionIdText } from "../../../src/protocol/datagram/session-id.ts";
import { writeUdpV2, writePacketV2 } from "../../../src/protocol/datagram/v2.ts";
import { writePacketV3, writePayloadV3, writeRegistration } from "../../../src/protocol/datagram/v3.ts";
import { DatagramHarness, UdpOrigin } from "./harness.ts";

const id = "a".repeat(16);
const unknown = "b".repeat(16);
const packet = Buffer.from("not even a packet");

describe.each([2, 3] as const)("version %i", (version) => {
  const payloadTo = (session: string): Buffer =>
    version === 2 ? writeUdpV2(session, Buffer.from("ping")) : writePayloadV3(session, Buffer.from("ping"));

  async function opened() {
    const origin = await UdpOrigin.start();
    const { channel, connection } = new DatagramHarness().attach(version);
    if (version === 2) {
      const sessionId = sessionIdText(id);
      await connection.registerUdpSession({ sessionId, dstIp: "127.0.0.1", dstPort: origin.port, closeAfterIdleMs: 0 });
    } else {
      const address = "127.0.0.1";
      const { port } = origin;
      channel.deliver(
        writeRegistration({ requestId: id, address, port, idleSeconds: 0, traced: false, payload: undefined }),
      );
      await channel.next();
    }
    delete channel.sessionsUsedAt;
    return { channel, origin };
  }

  it("payloads of either side are use", async () => {
    const { channel } = await opened();
    channel.deliver(payloadTo(id));
    expect(channel.sessionsUsedAt).toBeTypeOf("number");
    delete channel.sessionsUsedAt;
    await channel.next();
    expect(channel.sessionsUsedAt).toBeTypeOf("number");
  });

  it("payloads of sessions that are none, and pings, are not", async () => {
    const { channel } = await opened();
    channel.deliver(payloadTo(unknown));
    channel.deliver(version === 2 ? writePacketV2(packet) : writePacketV3(packet));
    expect(channel.sessionsUsedAt).toBeUndefined();
  });
});
