/** The handshake by the tables of RFC 1928. */
import { describe, expect, it } from "vitest";
import { Socks5Error } from "../../../src/protocol/socks5/errors.ts";
import { encodeReply, Reply } from "../../../src/protocol/socks5/reply.ts";
import { type Socks5Destination, Socks5Server } from "../../../src/protocol/socks5/server.ts";

interface Result {
  readonly sent: string;
  readonly destination: Socks5Destination | undefined;
  /** What stands behind the handshake. */
  readonly rest: string;
  readonly error: Socks5Error | undefined;
}

function run(hex: string, step: number): Result {
  const bytes = Buffer.from(hex, "hex");
  let sent = "";
  let rest = "";
  let destination: Socks5Destination | undefined;
  let error: Socks5Error | undefined;
  const server = new Socks5Server({
    send: (reply) => (sent += reply.toString("hex")),
    onConnect: (asked) => (destination = asked),
  });
  for (let at = 0; at < bytes.length && error === undefined; at += step) {
    const chunk = bytes.subarray(at, at + step);
    try {
      rest += chunk.subarray(server.receive(chunk)).toString("hex");
    } catch (thrown) {
      if (!(thrown instanceof Socks5Error)) throw thrown;
      error = thrown;
    }
  }
  return { sent, destination, rest, error };
}

const IPV4 = "05010001c000020101bb";
const IPV6 = "0501000420010db80000000000000000000000010016";
const MAPPED = "0501000400000000000000000000ffffc00002010016";
const NAME = `050100030b${Buffer.from("example.com").toString("hex")}0050`;

describe("a SOCKS5 server", () => {
  for (const step of [1, 2, 3, 7, 1000]) {
    it(`hears where to, ${step} bytes at a time`, () => {
      for (const [request, host, port] of [
        [IPV4, "192.0.2.1", 443],
        [IPV6, "2001:db8:0:0:0:0:0:1", 22],
        [MAPPED, "192.0.2.1", 22],
        [NAME, "example.com", 80],
      ] as const) {
        expect(run(`050100${request}beef`, step)).toEqual({
          sent: "0500",
          destination: { host, port },
          rest: "beef",
          error: undefined,
        });
      }
      expect(run(`05ff${"07".repeat(254)}00${IPV4}`, step).destination?.port).toBe(443);
      const longest = "a".repeat(255);
      expect(run(`05010005010003ff${"61".repeat(255)}0050`, step).destination?.host).toBe(longest);
    });
  }

  for (const [fault, hex, answer] of [
    ["authentication alone", "050102", "05ff"],
    ["no methods", "0500", "05ff"],
    ["BIND", "05010005020001c000020101bb", "05070001000000000000"],
    ["UDP ASSOCIATE", "05010005030001c000020101bb", "05070001000000000000"],
    ["an unknown address type", "0501000501000904", "05080001000000000000"],
    ["an empty name", "05010005010003000050", "05040001000000000000"],
    ["a name with a NUL", "050100050100030261000050", "05040001000000000000"],
    ["SOCKS4", "04010050c000020100", undefined],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n").toString("hex"), undefined],
    ["another version in the request", "05010004010001c000020101bb", undefined],
  ] as const) {
    for (const step of [1, 1000]) {
      it(`refuses ${fault}, ${step} bytes at a time`, () => {
        const { destination, error } = run(hex, step);
        expect(error).toMatchObject({ code: "ERR_UNDERPASS_SOCKS5" });
        expect(error?.answer?.toString("hex")).toBe(answer);
        expect(destination).toBeUndefined();
      });
    }
  }
});

describe("a SOCKS5 reply", () => {
  it("names the address that was bound", () => {
    expect(encodeReply(Reply.succeeded, "192.0.2.9", 1080).toString("hex")).toBe("05000001c00002090438");
    expect(encodeReply(Reply.succeeded, "2001:db8::1", 1080).toString("hex")).toBe(
      "0500000420010db80000000000000000000000010438",
    );
    expect(encodeReply(Reply.connectionRefused).toString("hex")).toBe("05050001000000000000");
    expect(encodeReply(Reply.succeeded, "no address", 1).toString("hex")).toBe("05000001000000000001");
  });
});
