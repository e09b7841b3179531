/** The edge of the benchmarks over QUIC: the mock edge's listener, registration, requests. */
import type { Authority } from "../src/mock-edge/ca.ts";
import type { QuicCarrier } from "../src/mock-edge/quic-carrier.ts";
import { listenQuic } from "../src/mock-edge/quic-listener.ts";
import type { Field } from "../src/mock-edge/visitor-fields.ts";
import { serveRegistration } from "../src/rpc/registration-server.ts";
import { type EdgeClient, type EdgeEvents, FIXED_FIELDS, HOST, nextRay } from "./edge-client.ts";
import { registration } from "./registration.ts";

function clientOf(carrier: QuicCarrier): EdgeClient {
  return {
    request({ method, path, end, length, websocket }, handler) {
      const ray = nextRay();
      const fields: Field[] = [...FIXED_FIELDS, ["cf-ray", ray], ["cookie", `session=${ray}`]];
      if (websocket === true) {
        fields.push(
          ["cf-cloudflared-proxy-connection-upgrade", "websocket"],
          ["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="],
          ["sec-websocket-version", "13"],
        );
      } else if (length !== undefined) fields.push(["content-length", String(length)]);
      const stream = carrier.open(
        { method, authority: HOST, path, fields, end },
        {
          onResponse: (head) => handler.onResponse?.(head),
          onData: (chunk) => handler.onData(chunk),
          onEnd: () => handler.onEnd(),
          onCancel: () => handler.onCancel(),
          onWritable: () => handler.onWritable(),
        },
      );
      if (stream === undefined) return undefined;
      return {
        write: (chunk, last) => stream.write(chunk, last),
        consumed: (bytes) => stream.consumed(bytes),
        reset: () => stream.reset(0),
      };
    },
  };
}

export interface QuicEdgeListener {
  readonly port: number;
  /** Of all connections that are open, as this side counts them. */
  packets(): { readonly sent: number; readonly received: number };
}

export async function listenQuicEdge(authority: Authority, events: EdgeEvents): Promise<QuicEdgeListener> {
  const leaf = authority.issue({ dnsNames: ["quic.cftunnel.com"] });
  const carriers = new Set<QuicCarrier>();
  const listener = await listenQuic({
    host: "127.0.0.1",
    port: 0,
    certificate: () => leaf,
    onConnection: (carrier) => {
      carriers.add(carrier);
      const client = clientOf(carrier);
      carrier.carry({
        onReady: () => {
          const control = carrier.openControl(() => {});
          if (control !== undefined) serveRegistration(control.channel, registration(client, events));
        },
        onPong() {},
        onClose: () => {
          carriers.delete(carrier);
          events.gone(client);
        },
      });
    },
  });
  return {
    port: listener.port,
    packets() {
      let sent = 0;
      let received = 0;
      for (const { stats } of carriers) {
        sent += stats?.packetsSent ?? 0;
        received += stats?.packetsReceived ?? 0;
      }
      return { sent, received };
    },
  };
}
