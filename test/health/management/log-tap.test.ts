import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Secret } from "../../../src/config/secret.ts";
import { type LogListener, LogTap, type LogRecord } from "../../../src/health/management/log-tap.ts";
import { Scrubber } from "../../../src/proxy/ingress/redact.ts";
import type { LogFields } from "../../../src/types.ts";

type Line = readonly [level: string, message: string, fields: LogFields | undefined];

function tapped(scrub?: (text: string) => string, wants: LogListener["wants"] = () => true) {
  const lines: Line[] = [];
  const write =
    (level: string) =>
    (message: string, fields?: LogFields): void =>
      void lines.push([level, message, fields]);
  const target = { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  const tap = new LogTap({ target, scrub, now: () => Date.UTC(2026, 0, 2, 3, 4, 5) });
  const records: LogRecord[] = [];
  return { lines, records, tap, follow: () => tap.attach({ wants, record: (record) => void records.push(record) }) };
}

describe("LogTap", () => {
  it("hands lines on to its target as they are, whoever listens", () => {
    const { follow, lines, records, tap } = tapped();
    const fields = { connIndex: 1 };
    tap.logger.info("before", fields);
    const detach = follow();
    tap.logger.warn("during", fields);
    detach();
    tap.logger.error("after");
    expect(lines).toEqual([
      ["info", "before", fields],
      ["warn", "during", fields],
      ["error", "after", undefined],
    ]);
    expect(lines[0]?.[2]).toBe(fields);
    expect(records).toEqual([
      { time: "2026-01-02T03:04:05.000Z", level: "warn", message: "during", event: "cloudflared", fields },
    ]);
  });

  it("does not look at fields while nobody is attached", () => {
    const { follow, records, tap } = tapped();
    let reads = 0;
    const fields = {
      get costly() {
        reads++;
        return "text";
      },
    };
    expect(tap.attached).toBe(false);
    tap.logger.info("a line", fields);
    expect(reads).toBe(0);
    follow();
    expect(tap.attached).toBe(true);
    tap.logger.info("a line", fields);
    expect(reads).toBe(1);
    expect(records).toHaveLength(1);
  });

  it("makes no record that nobody wants", () => {
    let reads = 0;
    const fields = {
      outcome: "ok",
      kind: "tcp",
      get costly() {
        reads++;
        return "text";
      },
    };
    const asked: string[] = [];
    const { follow, records, tap } = tapped(undefined, (level, event) => {
      asked.push(`${level} ${event}`);
      return level === "error";
    });
    follow();
    tap.logger.debug("a line", fields);
    expect([reads, records.length]).toEqual([0, 0]);
    tap.logger.debug("a line", { ...fields, error: "x" });
    expect(records).toHaveLength(1);
    expect(asked).toEqual(["debug tcp", "error tcp"]);
  });

  it("tells followers alone what is for them", () => {
    const { follow, lines, records, tap } = tapped();
    tap.followers.info("nobody");
    follow();
    tap.followers.info("somebody");
    expect(lines).toEqual([]);
    expect(records.map(({ message }) => message)).toEqual(["somebody"]);
  });

  it.each([
    ["Request served", { outcome: "ok", kind: "http" }, "http"],
    ["Request failed", { outcome: "origin-refused", kind: "websocket" }, "http"],
    ["Request served", { outcome: "ok", kind: "tcp" }, "tcp"],
    ["UDP session registered", { sessionId: "1" }, "udp"],
    ["Failed to open a UDP session", {}, "udp"],
    ["Dropped a datagram of the edge", {}, "udp"],
    ["Registered tunnel connection", { kind: "http", event: 0 }, "cloudflared"],
    ["Request served", { outcome: "ok", kind: "websocket", ingressRule: -1 }, "cloudflared"],
  ])("%s with %j is of event %s", (message, fields, event) => {
    const { follow, records, tap } = tapped();
    follow();
    tap.logger.info(message, fields);
    expect(records[0]?.event).toBe(event);
    expect(records[0]?.fields).not.toHaveProperty("event");
  });

  it("raises lines with an error to the level error, and tells errors as text", () => {
    const { follow, records, tap } = tapped();
    follow();
    tap.logger.info("it failed", { error: new Error("outer", { cause: new Error("inner") }) });
    expect(records[0]).toMatchObject({ level: "error", fields: { error: "outer: inner" } });
  });

  it("shows no secret: not a Secret, not what looks like one, not what the scrubber knows", () => {
    const known = randomBytes(9).toString("hex");
    const scrubber = new Scrubber();
    scrubber.add(known);
    const { follow, records, tap } = tapped((text) => scrubber.scrub(text));
    follow();
    const token = Buffer.from(JSON.stringify({ a: randomBytes(16).toString("hex") })).toString("base64");
    tap.logger.info(`message with ${known}`, {
      secret: new Secret(known),
      nested: { deep: [`x${known}y`] },
      [known]: "as a name",
      url: `https://example.com/?t=${token}`,
    });
    const text = JSON.stringify(records);
    expect(records).toHaveLength(1);
    expect(text).not.toContain(known);
    expect(text).not.toContain(token);
    expect(text).toContain("[redacted]");
  });

  it("survives fields whose getters throw", () => {
    const { follow, records, tap } = tapped();
    follow();
    const fields = {
      get bad(): string {
        throw new Error("no");
      },
    };
    expect(() => tap.logger.info("a line", fields)).not.toThrow();
    expect(records).toEqual([]);
  });
});
