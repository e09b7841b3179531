/** Both ends of a handshake in one process, with somebody between them. */
import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import {
  createTlsClient,
  createTlsServer,
  type EncryptionLevel,
  type TlsClientOptions,
  type TlsEvent,
  type TlsServerOptions,
  type TlsSession,
} from "../../../src/protocol/tls13/session.ts";
import { TlsAlertError } from "../../../src/protocol/tls13/errors.ts";
import { authority, type Issued, leaf, NAME, NOW, root } from "./certificates.ts";

export const ROOT = root();
export const INTERMEDIATE = authority(ROOT);
export const LEAF = leaf(INTERMEDIATE);
/** One list: it is read once. */
export const ROOTS: readonly string[] = [ROOT.pem];

export const CLIENT_PARAMETERS = Buffer.from("0f00", "hex");
export const SERVER_PARAMETERS = Buffer.from("0f0101", "hex");

export type ClientChange = Partial<TlsClientOptions>;
export type ServerChange = Partial<TlsServerOptions>;

export function client(change: ClientChange = {}): TlsSession {
  return createTlsClient({
    serverName: NAME,
    alpn: ["argotunnel"],
    transportParameters: CLIENT_PARAMETERS,
    random: randomBytes,
    roots: ROOTS,
    time: NOW,
    groups: ["X25519", "P-256"],
    ...change,
  });
}

export function server(change: ServerChange = {}): TlsSession {
  return createTlsServer({
    alpn: ["argotunnel"],
    transportParameters: SERVER_PARAMETERS,
    random: randomBytes,
    groups: ["X25519", "P-256"],
    certificateChain: [LEAF.der, INTERMEDIATE.der],
    privateKey: LEAF.keys.privateKey,
    ...change,
  });
}

/** A server's identity, from the leaf up. */
export function identity(own: Issued, ...others: readonly Issued[]): ServerChange {
  return { certificateChain: [own, ...others].map((each) => each.der), privateKey: own.keys.privateKey };
}

export interface Message {
  readonly level: EncryptionLevel;
  readonly bytes: Buffer;
}

export type Role = "client" | "server";

/** What is delivered in the place of a message. */
export type Meddler = (from: Role, message: Message, index: number) => readonly Message[];

export interface Outcome {
  readonly client: TlsEvent[];
  readonly server: TlsEvent[];
  /** Whole messages, by who sent them. */
  readonly sent: readonly { readonly from: Role; readonly type: number; readonly level: EncryptionLevel }[];
  /** Who gave up, and why. */
  readonly failed?: { readonly role: Role; readonly error: unknown };
}

/** Cuts what was sent into messages. */
export function messagesOf({ level, bytes }: Message): Message[] {
  const list: Message[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUIntBE(at + 1, 3);
    list.push({ level, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return list;
}

const passOn: Meddler = (_from, message) => [message];

/** Runs until nobody has anything to say, or one end refuses. */
export function shake(ends: { client: TlsSession; server: TlsSession }, meddle: Meddler = passOn): Outcome {
  const events: Record<Role, TlsEvent[]> = { client: [], server: [] };
  const sent: { from: Role; type: number; level: EncryptionLevel }[] = [];
  const queue: { from: Role; message: Message }[] = [];
  let index = 0;
  const take = (from: Role, news: readonly TlsEvent[]): void => {
    events[from].push(...news);
    for (const event of news) {
      if (event.kind !== "send") continue;
      for (const message of messagesOf(event)) queue.push({ from, message });
    }
  };
  take("server", ends.server.start());
  take("client", ends.client.start());
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { from, message } = next;
    sent.push({ from, type: message.bytes[0] ?? -1, level: message.level });
    const to: Role = from === "client" ? "server" : "client";
    for (const { level, bytes } of meddle(from, message, index++)) {
      try {
        take(to, ends[to].receive(level, bytes));
      } catch (error) {
        return { ...events, sent, failed: { role: to, error } };
      }
    }
  }
  return { ...events, sent };
}

export const completed = (events: readonly TlsEvent[]): boolean => events.some((event) => event.kind === "complete");

export function secretsOf(events: readonly TlsEvent[]): Record<string, string> {
  const secrets: Record<string, string> = {};
  for (const event of events) {
    if (event.kind === "secret") secrets[`${event.level} ${event.direction}`] = event.secret.toString("hex");
  }
  return secrets;
}

/** The alert with which a step ends; "ok" if it does not. Anything but an alert is thrown on. */
export function alertOf(step: () => unknown): number | "ok" {
  try {
    step();
    return "ok";
  } catch (error) {
    if (error instanceof TlsAlertError) return error.alert;
    throw error;
  }
}

/** The client's refusal: its alert and its words. */
export function refusal({ failed }: Outcome): { role: Role; alert: number; message: string } | undefined {
  if (failed === undefined) return undefined;
  if (!(failed.error instanceof TlsAlertError)) throw failed.error;
  return { role: failed.role, alert: failed.error.alert, message: failed.error.message };
}

/** The first server flight for that client: one message each. */
export function flightFor(hello: readonly TlsEvent[], change: ServerChange = {}): Message[] {
  const peer = server(change);
  return hello.flatMap((event) =>
    event.kind === "send"
      ? peer.receive(event.level, event.bytes).flatMap((answer) => (answer.kind === "send" ? messagesOf(answer) : []))
      : [],
  );
}

/** Changes one message of the server on its way. */
export function changing(type: number, change: (bytes: Buffer) => Buffer): Meddler {
  return (from, message) =>
    from === "server" && message.bytes[0] === type
      ? [{ level: message.level, bytes: change(Buffer.from(message.bytes)) }]
      : [message];
}

export const Type = {
  serverHello: 2,
  encryptedExtensions: 8,
  certificate: 11,
  certificateVerify: 15,
  finished: 20,
} as const;

/** A handshake whose server message of that type is changed. */
export function changed(type: number, change: (bytes: Buffer) => Buffer, more: ClientChange = {}): Outcome {
  return shake({ client: client(more), server: server() }, changing(type, change));
}

/** It ends at the client, with that alert, and without a word of completion. */
export function expectRefused(outcome: Outcome, alert: number): void {
  expect(refusal(outcome)).toMatchObject({ role: "client", alert });
  expect(completed(outcome.client)).toBe(false);
  expect(completed(outcome.server)).toBe(false);
}
