import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeMessage } from "../../../src/protocol/capnp/reader.ts";
import { encodeMessage } from "../../../src/protocol/capnp/writer.ts";
import { capnpTs, type Oracle } from "./capnp-ts-oracle.ts";
import { frameOf } from "./frames.ts";
import { type Sample, samples } from "./values.ts";

function agrees<T>(name: string, sample: Sample<T>, oracle: Oracle<T>): void {
  it(`${name}: 1,000 values, the same bytes and the same fields both ways`, () => {
    fc.assert(
      fc.property(sample.values, (value) => {
        const ours = encodeMessage(sample.type, value);
        const theirs = oracle.encode(value);
        expect(Buffer.from(ours).toString("hex")).toBe(Buffer.from(theirs).toString("hex"));
        expect(oracle.decode(ours)).toEqual(value);
        expect(decodeMessage(sample.type, frameOf(theirs))).toEqual(value);
      }),
      { seed: 20261122, numRuns: 1000 },
    );
  });
}

describe("capnp-ts as a second opinion", () => {
  agrees("metadata", samples.metadata, capnpTs.metadata);
  agrees("connectRequest", samples.connectRequest, capnpTs.connectRequest);
  agrees("connectResponse", samples.connectResponse, capnpTs.connectResponse);
  agrees("tunnelAuth", samples.tunnelAuth, capnpTs.tunnelAuth);
  agrees("clientInfo", samples.clientInfo, capnpTs.clientInfo);
  agrees("connectionOptions", samples.connectionOptions, capnpTs.connectionOptions);
  agrees("registerConnectionParams", samples.registerConnectionParams, capnpTs.registerConnectionParams);
  agrees("connectionError", samples.connectionError, capnpTs.connectionError);
  agrees("connectionDetails", samples.connectionDetails, capnpTs.connectionDetails);
  agrees("connectionResponse", samples.connectionResponse, capnpTs.connectionResponse);
  agrees("registerConnectionResults", samples.registerConnectionResults, capnpTs.registerConnectionResults);
  agrees(
    "updateLocalConfigurationParams",
    samples.updateLocalConfigurationParams,
    capnpTs.updateLocalConfigurationParams,
  );
  agrees("registerUdpSessionParams", samples.registerUdpSessionParams, capnpTs.registerUdpSessionParams);
  agrees("registerUdpSessionResponse", samples.registerUdpSessionResponse, capnpTs.registerUdpSessionResponse);
  agrees("registerUdpSessionResults", samples.registerUdpSessionResults, capnpTs.registerUdpSessionResults);
  agrees("unregisterUdpSessionParams", samples.unregisterUdpSessionParams, capnpTs.unregisterUdpSessionParams);
  agrees("updateConfigurationParams", samples.updateConfigurationParams, capnpTs.updateConfigurationParams);
  agrees("updateConfigurationResponse", samples.updateConfigurationResponse, capnpTs.updateConfigurationResponse);
  agrees("updateConfigurationResults", samples.updateConfigurationResults, capnpTs.updateConfigurationResults);

  // capnp-ts has a null pointer where cloudflared, and we, have a struct of no bytes; either reads as the other.
  it("empty: bytes of its own, and either reads the other's", () => {
    const ours = encodeMessage(samples.empty.type, undefined);
    expect(Buffer.from(ours).toString("hex")).toBe("0000000001000000fcffffff00000000");
    expect(capnpTs.empty.decode(ours)).toBeUndefined();
    expect(decodeMessage(samples.empty.type, frameOf(capnpTs.empty.encode(undefined)))).toBeUndefined();
  });

  it("knows every struct of the samples", () => {
    expect(Object.keys(capnpTs).sort()).toStrictEqual(Object.keys(samples).sort());
  });
});
