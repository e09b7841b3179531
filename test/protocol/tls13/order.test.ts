import { describe, expect, it } from "vitest";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { MAX_CERTIFICATE_MESSAGE, MAX_MESSAGE } from "../../../src/protocol/tls13/limits.ts";
import type { EncryptionLevel, TlsEvent, TlsSession } from "../../../src/protocol/tls13/session.ts";
import { alertOf, client, completed, type Message, messagesOf, server, type ServerChange } from "./rig.ts";

const frame = (type: number, ...body: readonly number[]): Buffer =>
  Buffer.from([type, 0, body.length >>> 8, body.length & 0xff, ...body]);

const TICKET = frame(4, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 7, 0, 0);

/** Well-formed ones of all types that RFC 8446 § 4 has, and two that it has not. */
const SAMPLES: readonly (readonly [string, (flight: Flight) => Buffer])[] = [
  ["client_hello", (flight) => flight.hello],
  ["server_hello", (flight) => flight.of(2)],
  ["hello_retry_request", (flight) => flight.retry],
  ["new_session_ticket", () => TICKET],
  ["end_of_early_data", () => frame(5)],
  ["encrypted_extensions", (flight) => flight.of(8)],
  ["certificate", (flight) => flight.of(11)],
  ["certificate_request", () => frame(13, 0, 0, 8, 0, 13, 0, 4, 0, 2, 8, 4)],
  ["certificate_verify", (flight) => flight.of(15)],
  ["finished", (flight) => flight.of(20)],
  ["key_update", () => frame(24, 0)],
  ["message_hash", () => frame(254, ...Buffer.alloc(32))],
  ["unknown", () => frame(99)],
];

interface Flight {
  readonly hello: Buffer;
  readonly retry: Buffer;
  of(type: number): Buffer;
}

const sends = (events: readonly TlsEvent[]): Message[] =>
  events.flatMap((event) => (event.kind === "send" ? messagesOf(event) : []));

function answerTo(hello: Message, change: ServerChange): Message[] {
  return sends(server(change).receive(hello.level, hello.bytes));
}

/** A client in the state that comes after `accepted` messages of the server, and what that server would send. */
function clientAfter(accepted: number): { session: TlsSession; flight: Flight; level: EncryptionLevel } {
  const session = client();
  const [hello] = sends(session.start()) as [Message];
  const messages = answerTo(hello, {});
  for (const { level, bytes } of messages.slice(0, accepted)) session.receive(level, bytes);
  const retry = answerTo(hello, { groups: ["P-256"] })[0]?.bytes ?? Buffer.alloc(0);
  const level = accepted === 0 ? "initial" : accepted < messages.length ? "handshake" : "application";
  return {
    session,
    level,
    flight: {
      hello: hello.bytes,
      retry,
      of: (type) => messages.find(({ bytes }) => bytes[0] === type)?.bytes ?? frame(type),
    },
  };
}

const ALERTS = new Map<number, string>(Object.entries(Alert).map(([name, number]) => [number, name]));
const nameOf = (alert: number | "ok"): string => (alert === "ok" ? "ok" : (ALERTS.get(alert) ?? String(alert)));

describe("the client's order", () => {
  const states = ["start", "server_hello", "encrypted_extensions", "certificate", "certificate_verify", "finished"];

  it("takes what is due, and nothing else", () => {
    const table: Record<string, string> = {};
    for (const [accepted, state] of states.entries()) {
      const row = SAMPLES.map(([, sample]) => {
        const { session, flight, level } = clientAfter(accepted);
        return nameOf(alertOf(() => session.receive(level, sample(flight))));
      });
      const taken = SAMPLES.flatMap(([name], index) => (row[index] === "ok" ? [name] : []));
      const others = new Set(row.filter((alert) => alert !== "ok"));
      table[`after ${state}`] = `${taken.join(", ")} | ${[...others].join(", ")}`;
    }
    expect(table).toMatchInlineSnapshot(`
      {
        "after certificate": "certificate_verify | unexpectedMessage",
        "after certificate_verify": "finished | unexpectedMessage",
        "after encrypted_extensions": "certificate, certificate_request | unexpectedMessage",
        "after finished": "new_session_ticket | unexpectedMessage",
        "after server_hello": "encrypted_extensions | unexpectedMessage",
        "after start": "server_hello, hello_retry_request | unexpectedMessage",
      }
    `);
  });

  it("takes a request for a certificate once, before the server's own", () => {
    const { session, flight, level } = clientAfter(2);
    const request = SAMPLES[7]?.[1](flight) ?? Buffer.alloc(0);
    expect(alertOf(() => session.receive(level, request))).toBe("ok");
    expect(alertOf(() => session.receive(level, request))).toBe(Alert.unexpectedMessage);
  });

  it("ends with the first failure", () => {
    const { session, flight } = clientAfter(0);
    expect(alertOf(() => session.receive("initial", frame(99)))).toBe(Alert.unexpectedMessage);
    expect(alertOf(() => session.receive("initial", flight.of(2)))).toBe(Alert.unexpectedMessage);
    expect(() => session.receive("initial", flight.of(2))).toThrow(/has failed before/);
  });

  it("takes each message at its own level alone", () => {
    const levels: readonly EncryptionLevel[] = ["initial", "handshake", "application"];
    for (const accepted of states.keys()) {
      const verdicts = levels.map((level) => {
        const { session, flight } = clientAfter(accepted);
        const due = [2, 8, 11, 15, 20].map((type) => flight.of(type))[accepted] ?? TICKET;
        // In parts too: the first byte is enough.
        const early = alertOf(() => clientAfter(accepted).session.receive(level, due.subarray(0, 1)));
        return [alertOf(() => session.receive(level, due)), early];
      });
      const right = accepted === 0 ? 0 : accepted < 5 ? 1 : 2;
      expect(verdicts).toEqual(
        levels.map((_, index) => (index === right ? ["ok", "ok"] : [Alert.unexpectedMessage, Alert.unexpectedMessage])),
      );
    }
  });

  it("does not take a message that began at one level and goes on at another", () => {
    const { session, flight } = clientAfter(0);
    const hello = flight.of(2);
    session.receive("initial", hello.subarray(0, 50));
    expect(alertOf(() => session.receive("handshake", hello.subarray(50)))).toBe(Alert.unexpectedMessage);
  });

  it("does not take anything behind a message with which the keys change (RFC 8446 § 5.1)", () => {
    for (const tail of [Buffer.of(8), frame(8, 0, 0)]) {
      const { session, flight } = clientAfter(0);
      const together = Buffer.concat([flight.of(2), tail]);
      expect(alertOf(() => session.receive("initial", together))).toBe(Alert.unexpectedMessage);
    }
    const { session, flight } = clientAfter(4);
    const together = Buffer.concat([flight.of(20), Buffer.of(4)]);
    expect(alertOf(() => session.receive("handshake", together))).toBe(Alert.unexpectedMessage);
  });
});

describe("tickets", () => {
  const ticket = (...body: readonly number[]): number | "ok" =>
    alertOf(() => clientAfter(5).session.receive("application", frame(4, ...body)));

  it("are read and forgotten, however many come", () => {
    const { session } = clientAfter(5);
    const bytes = frame(4, 0, 0, 0, 9, 1, 2, 3, 4, 1, 0, 0, 2, 7, 7, 0, 8, 0, 42, 0, 4, 0xff, 0xff, 0xff, 0xff);
    for (let i = 0; i < 1000; i++) expect(session.receive("application", bytes)).toEqual([]);
  });

  it("may have extensions that nobody knows (RFC 8446 § 4.6.1)", () => {
    expect(ticket(0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 7, 0, 5, 0xfa, 0xfa, 0, 1, 1)).toBe("ok");
  });

  it("are refused when they are cut off, empty, or limit early data", () => {
    const whole = [0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 7, 0, 0];
    for (let length = 0; length < whole.length; length++) {
      expect(ticket(...whole.slice(0, length))).toBe(Alert.decodeError);
    }
    expect(ticket(...whole, 0)).toBe(Alert.decodeError);
    expect(ticket(0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 0, 0, 0)).toBe(Alert.decodeError);
    expect(ticket(0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 7, 0, 8, 0, 42, 0, 4, 0, 0, 4, 0)).toBe(Alert.illegalParameter);
  });
});

describe("the server's order", () => {
  /** States: before the ClientHello, after a HelloRetryRequest, before the client's Finished, after it. */
  function serverIn(state: string): { session: TlsSession; flight: Flight; level: EncryptionLevel } {
    const peer = client();
    const session = server(state === "retried" ? { groups: ["P-256"] } : {});
    const [hello] = sends(peer.start()) as [Message];
    const flight = (own: Buffer, finished: Buffer): Flight => ({
      hello: own,
      retry: answerTo(hello, { groups: ["P-256"] })[0]?.bytes ?? Buffer.alloc(0),
      of: (type) =>
        type === 20 ? finished : (answerTo(hello, {}).find(({ bytes }) => bytes[0] === type)?.bytes ?? frame(type)),
    });
    if (state === "start") return { session, level: "initial", flight: flight(hello.bytes, frame(20)) };
    const answers = sends(session.receive("initial", hello.bytes));
    const back = answers.flatMap(({ level, bytes }) => sends(peer.receive(level, bytes)));
    const own = back[0]?.bytes ?? Buffer.alloc(0);
    if (state === "retried") return { session, level: "initial", flight: flight(own, frame(20)) };
    if (state === "complete") session.receive("handshake", own);
    return { session, level: state === "complete" ? "application" : "handshake", flight: flight(hello.bytes, own) };
  }

  it("takes what is due, and nothing else", () => {
    const table: Record<string, string> = {};
    for (const state of ["start", "retried", "answered", "complete"]) {
      const row = SAMPLES.map(([, sample]) => {
        const { session, flight, level } = serverIn(state);
        return nameOf(alertOf(() => session.receive(level, sample(flight))));
      });
      const taken = SAMPLES.flatMap(([name], index) => (row[index] === "ok" ? [name] : []));
      table[state] = `${taken.join(", ")} | ${[...new Set(row.filter((alert) => alert !== "ok"))].join(", ")}`;
    }
    expect(table).toMatchInlineSnapshot(`
      {
        "answered": "finished | unexpectedMessage",
        "complete": " | unexpectedMessage",
        "retried": "client_hello | unexpectedMessage",
        "start": "client_hello | unexpectedMessage",
      }
    `);
  });

  it("is complete with the client's Finished, and not before", () => {
    const { session, flight, level } = serverIn("answered");
    const finished = flight.of(20);
    expect(completed(session.receive(level, finished.subarray(0, 35)))).toBe(false);
    expect(completed(session.receive(level, finished.subarray(35)))).toBe(true);
  });
});

describe("lengths", () => {
  it.each([
    ["server", 1, MAX_MESSAGE],
    ["client", 2, MAX_MESSAGE],
    ["client", 11, MAX_CERTIFICATE_MESSAGE],
  ])("a %s refuses a message %i longer than %i by its head", (role, type, limit) => {
    const head = (length: number): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(length);
      bytes[0] = type;
      return bytes;
    };
    const fresh = (): { session: TlsSession; level: EncryptionLevel } =>
      role === "server" ? { session: server(), level: "initial" } : clientAfter(type === 11 ? 2 : 0);
    const take = (length: number): number | "ok" => {
      const { session, level } = fresh();
      return alertOf(() => session.receive(level, head(length)));
    };
    expect(take(limit)).toBe("ok");
    expect(take(limit + 1)).toBe(Alert.illegalParameter);
    expect(take(0xffffff)).toBe(Alert.illegalParameter);
  });
});
