/** The Cap'n Proto codec beside capnp-ts: what QUIC pays for each request. */
import {
  type ConnectRequest,
  type ConnectResponse,
  connectRequestType,
  connectResponseType,
} from "../src/protocol/capnp/connect.ts";
import { FrameSplitter } from "../src/protocol/capnp/frame.ts";
import { MAX_CONNECT_MESSAGE_BYTES } from "../src/protocol/capnp/limits.ts";
import { decodeMessage } from "../src/protocol/capnp/reader.ts";
import { encodeMessage } from "../src/protocol/capnp/writer.ts";
import { capnpTs } from "../test/protocol/capnp/capnp-ts-oracle.ts";
import { measure } from "./measure.ts";

export interface CapnpRow {
  readonly name: string;
  readonly ours_us: number;
  readonly capnp_ts_us: number;
}

const ENTRIES = [0, 12, 40];

function metadata(count: number): { key: string; val: string }[] {
  return Array.from({ length: count }, (_, i) => ({
    key: `HttpHeader:X-Header-${String(i).padStart(2, "0")}`,
    val: `value number ${i} of this header`,
  }));
}

function decodeRequest(bytes: Uint8Array): ConnectRequest {
  const { frame } = new FrameSplitter(MAX_CONNECT_MESSAGE_BYTES).next(bytes, 0);
  if (frame === undefined) throw new Error("incomplete message");
  return decodeMessage(connectRequestType, frame);
}

export function benchmarkCapnp(): CapnpRow[] {
  const rows: CapnpRow[] = [];
  for (const count of ENTRIES) {
    const request: ConnectRequest = { dest: "http://example.com/path", type: 0, metadata: metadata(count) };
    const bytes = encodeMessage(connectRequestType, request);
    rows.push({
      name: `decode ConnectRequest, ${count} entries`,
      ours_us: measure(() => decodeRequest(bytes)),
      capnp_ts_us: measure(() => capnpTs.connectRequest.decode(bytes)),
    });
    rows.push({
      name: `encode ConnectRequest, ${count} entries`,
      ours_us: measure(() => encodeMessage(connectRequestType, request)),
      capnp_ts_us: measure(() => capnpTs.connectRequest.encode(request)),
    });
  }
  const response: ConnectResponse = { error: "", metadata: [{ key: "HttpStatus", val: "200" }, ...metadata(12)] };
  rows.push({
    name: "encode ConnectResponse, 13 entries",
    ours_us: measure(() => encodeMessage(connectResponseType, response)),
    capnp_ts_us: measure(() => capnpTs.connectResponse.encode(response)),
  });
  return rows;
}
