/** Options of services over TCP on real sockets, and those of every service: by default, from the top level, and by a rule. */
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { FakeStream, fieldsOf, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, portOf } from "./harness.ts";
import { type Level, levels, start as startRules } from "./levels.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const start = (source: unknown): Harness => startRules(cleanup, source);

/** One message to the service. */
function open({ harness, authority }: Level, message: Buffer, headers: Record<string, string> = {}): FakeStream {
  const stream = new FakeStream();
  harness.proxy.handle(webSocketRequest(stream, { authority, headers: fieldsOf(headers) }), 0);
  const mask = randomBytes(4);
  const masked = message.map((byte, at) => byte ^ (mask[at % 4] ?? 0));
  stream.give(Buffer.concat([Buffer.from([0x82, 0x80 | message.length]), mask, masked]));
  return stream;
}

const socksRequest = (port: number): Buffer =>
  Buffer.from(`050100050100017f000001${port.toString(16).padStart(4, "0")}`, "hex");

describe("options of services over TCP", () => {
  it("proxyProtocol: none", async () => {
    const origin = await cleanup.raw();
    let count = 0;
    const first = async (level: Level): Promise<string> => {
      open(level, Buffer.from("hello"), { "cf-connecting-ip": "192.0.2.7" });
      const connection = await origin.connection(count++);
      await connection.until(({ received }) => received.endsWith("hello"));
      return connection.received.slice(0, 12).replace(/[\r\n\0]/g, ".");
    };
    const service = `tcp://127.0.0.1:${portOf(origin.server)}`;
    expect(await levels(start, service, "proxyProtocol", ["v1", "v2"], first)).toEqual([
      "hello",
      "PROXY TCP4 1",
      ".......QUIT.",
    ]);
  });

  it("proxyType: none", async () => {
    const origin = await cleanup.raw(({ socket }) =>
      socket.on("data", (chunk: Buffer) => socket.write(`<${chunk.toString("hex")}>`)),
    );
    // 127.0.0.1:1 is asked for; the service has an address of its own.
    const request = socksRequest(1);
    const heard = async (level: Level): Promise<string> => {
      const stream = open(level, request);
      await stream.until(({ body }) => body.length > 4);
      const { body } = stream;
      stream.cancel();
      return body.subarray(2).toString("latin1").startsWith("<0501")
        ? "the origin"
        : body.subarray(2, 4).toString("hex");
    };
    const service = `tcp://127.0.0.1:${portOf(origin.server)}`;
    expect(await levels(start, service, "proxyType", ["socks", ""], heard)).toEqual([
      "the origin",
      "0500",
      "the origin",
    ]);
  });

  it("ipRules: nothing is allowed", async () => {
    const origin = await cleanup.raw();
    const request = socksRequest(portOf(origin.server));
    const reply = async (level: Level): Promise<string> => {
      const stream = open(level, request);
      // 0500 in a frame, and the reply in another.
      await stream.until(({ body }) => body.length >= 8);
      const { body } = stream;
      stream.cancel();
      return body.subarray(6, 8).toString("hex");
    };
    const allowed = [{ prefix: "127.0.0.0/8", allow: true }];
    expect(await levels(start, "socks-proxy", "ipRules", [allowed, []], reply)).toEqual(["0502", "0500", "0502"]);
  });

  it("bastionMode: false, and the rule's own alone counts", async () => {
    const [service, other] = [await cleanup.http((_, response) => response.end("service")), await cleanup.raw()];
    const reached = async (level: Level): Promise<string> => {
      const destination = { "cf-access-jump-destination": `127.0.0.1:${portOf(other.server)}` };
      const stream = open(level, Buffer.from("to the bastion"), destination);
      await stream.until(({ head, aborted }) => head !== undefined || aborted);
      stream.cancel();
      return level.harness.logs.at(-1)?.fields["originService"] === "bastion" ? "bastion" : "service";
    };
    expect(await levels(start, `http://127.0.0.1:${portOf(service)}`, "bastionMode", [true, true], reached)).toEqual([
      "service",
      "service",
      "bastion",
    ]);
    expect(other.connections).toHaveLength(1);
  });
});

describe("options of every service", () => {
  it("access: none", async () => {
    const origin = await cleanup.http((_, response) => response.end());
    const status = async ({ harness, authority }: Level): Promise<number | undefined> => {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream, { authority }), 0);
      return (await stream.done()).head?.status;
    };
    const required = { required: true, teamName: "team", audTag: ["tag"] };
    for (const service of [`http://127.0.0.1:${portOf(origin)}`, "http_status:200", "hello_world"]) {
      expect(await levels(start, service, "access", [required, { required: false }], status)).toEqual([200, 403, 200]);
    }
  });
});
