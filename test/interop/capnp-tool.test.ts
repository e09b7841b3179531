/** The C++ reference, through its command `capnp` (Debian: `capnproto`) and our own schema. Skipped where it is not installed. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeMessage } from "../../src/protocol/capnp/reader.ts";
import { encodeMessage } from "../../src/protocol/capnp/writer.ts";
import { frameOf, framesOf } from "../protocol/capnp/frames.ts";
import { type Sample, samples } from "../protocol/capnp/values.ts";

const schema = fileURLToPath(new URL("../fixtures/capnp/tunnel.capnp", import.meta.url));
const missing = spawnSync("capnp", ["--version"]).status !== 0;
const VALUES = 200;

function convert(formats: string, struct: string, input: Uint8Array): Buffer {
  const { status, stdout, stderr } = spawnSync("capnp", ["convert", formats, schema, struct], { input });
  if (status !== 0) throw new Error(`capnp convert ${formats} ${struct}: ${stderr.toString().slice(0, 1000)}`);
  return stdout;
}

/** The tool's documents stand one after another, each from the start of a line. */
function documents(output: Buffer): unknown[] {
  return output
    .toString()
    .trim()
    .split(/\n(?=\{)/)
    .map((text) => JSON.parse(text) as unknown);
}

/** Fields that are bytes to us, and text to the tool. */
const BYTE_STRINGS: ReadonlySet<string> = new Set(["dest", "key", "val"]);

const CONNECTION_TYPES = ["http", "websocket", "tcp"];

/** A value as the tool's JSON has it. Fields that are null or empty are left out: it leaves some of them out too. */
function json(value: unknown, key?: string): unknown {
  if (BYTE_STRINGS.has(key ?? "") && value !== "") return Buffer.from(String(value), "latin1").toString();
  if (key === "type") return CONNECTION_TYPES[Number(value)] ?? value;
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return value.length > 0 ? [...value] : undefined;
  if (Array.isArray(value)) return value.length > 0 ? value.map((element) => json(element) ?? "") : undefined;
  if (typeof value !== "object" || value === null) return value === "" || value === null ? undefined : value;
  const entries = Object.entries(value).filter(([name]) => name !== "kind");
  return Object.fromEntries(
    entries.map(([name, field]) => [name, json(field, name)]).filter(([, field]) => field !== undefined),
  );
}

/** The tool's own document, less what is empty. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.length > 0 ? value.map((element) => withoutEmpty(element) ?? "") : undefined;
  if (typeof value !== "object" || value === null) return value === "" || value === null ? undefined : value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, field]): [string, unknown] => [name, withoutEmpty(field)])
      .filter(([, field]) => field !== undefined),
  );
}

/** `capnp` 0.9.2 reads `\u0001` wrongly, so texts come without what JSON must escape. */
function printable<T>(value: T): T {
  if (typeof value === "string") return value.replace(/[\u0000-\u001f\u007f]/g, "?") as T;
  if (Array.isArray(value)) return value.map(printable) as T;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, printable(field)])) as T;
}

function agrees<T>(name: string, sample: Sample<T>): void {
  it.skipIf(missing)(`${name}: ${VALUES} values, the same fields both ways`, () => {
    const values = fc.sample(sample.values, { seed: 20261122, numRuns: VALUES }).map(printable);
    const ours = Buffer.concat(values.map((value) => encodeMessage(sample.type, value)));
    const asJson = convert("binary:json", name, ours);
    expect(documents(asJson).map((document) => withoutEmpty(document))).toEqual(values.map((value) => json(value)));
    const theirs = framesOf([convert("json:binary", name, asJson)]);
    expect(theirs.map((bytes) => decodeMessage(sample.type, frameOf(bytes)))).toEqual(values);
  });
}

describe("the capnp command", () => {
  const { connectRequest, ...others } = samples;
  // Empty is not here: too little for the tool to tell its format by. It names enumerants, and has no name for a type that the schema lacks.
  agrees("ConnectRequest", {
    type: connectRequest.type,
    values: connectRequest.values.map((value) => ({ ...value, type: value.type % CONNECTION_TYPES.length })),
  });
  agrees("Metadata", others.metadata);
  agrees("ConnectResponse", others.connectResponse);
  agrees("TunnelAuth", others.tunnelAuth);
  agrees("ClientInfo", others.clientInfo);
  agrees("ConnectionOptions", others.connectionOptions);
  agrees("RegisterConnectionParams", others.registerConnectionParams);
  agrees("ConnectionError", others.connectionError);
  agrees("ConnectionDetails", others.connectionDetails);
  agrees("ConnectionResponse", others.connectionResponse);
  agrees("RegisterConnectionResults", others.registerConnectionResults);
  agrees("UpdateLocalConfigurationParams", others.updateLocalConfigurationParams);
  agrees("RegisterUdpSessionParams", others.registerUdpSessionParams);
  agrees("RegisterUdpSessionResponse", others.registerUdpSessionResponse);
  agrees("RegisterUdpSessionResults", others.registerUdpSessionResults);
  agrees("UnregisterUdpSessionParams", others.unregisterUdpSessionParams);
  agrees("UpdateConfigurationParams", others.updateConfigurationParams);
  agrees("UpdateConfigurationResponse", others.updateConfigurationResponse);
  agrees("UpdateConfigurationResults", others.updateConfigurationResults);
});
