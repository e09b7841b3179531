/** Registration and RPC: cases REG-01 to REG-20. */
import type { Fault, MockEdge } from "../../../src/mock-edge/index.ts";
import { serveRegistration } from "../../../src/rpc/registration-server.ts";
import type { ByteChannel } from "../../../src/types.ts";
import { ask } from "./observe.ts";
import { type ControlLog, logMessages } from "./control-messages.ts";
import { comesTrue, type Instance, type Json, type Row, type RowContext, within } from "./row.ts";

/** Long enough for the waits between attempts: up to 2 s, and in cloudflared up to 20 s more after a first success. */
const RETRY_MS = 30_000;

/** Whether it registers after all, or ends, and with which status. */
async function outcome(edge: MockEdge, instance: Instance): Promise<Json> {
  const registered = edge.registered(1, { timeoutMs: RETRY_MS }).then(() => "registers");
  registered.catch(() => {});
  const result = await within(
    RETRY_MS + 1_000,
    "a registration or an exit",
    Promise.race([registered, instance.exit.then((status) => `exits ${status}`)]),
  );
  return { result, attempts: edge.registrations.length };
}

/** A row in which the first attempt meets a fault. */
function faultRow(id: string, title: string, fault: Fault): Row {
  return {
    id,
    title,
    own: {},
    async run({ edge, start }) {
      edge.fail(fault);
      return await outcome(edge, start());
    },
  };
}

function accepted(connIndex: number, remotelyManaged = true) {
  return {
    kind: "registered",
    connectionId: crypto.randomUUID(),
    location: `LAB0${connIndex + 1}`,
    remotelyManaged,
  } as const;
}

/** The edge's side of the control stream by hand; resolves with what the connector says on it, once it is open. */
function serveControl(edge: MockEdge, serve: (channel: ByteChannel) => void): Promise<ControlLog> {
  return new Promise((resolve) => {
    edge.fail({
      kind: "control",
      serve(channel) {
        serve(channel);
        resolve(logMessages(channel));
      },
    });
  });
}

async function firstRegistration({ edge, start }: RowContext): Promise<Json> {
  start();
  const [connection] = await edge.registered(1);
  const registration = connection?.registration;
  if (registration === undefined) return null;
  const { connIndex, features, arch, originLocalIp, replaceExisting, numPreviousAttempts, credentials } = registration;
  return {
    connIndex,
    features: [...features].sort(),
    arch,
    originLocalIp: originLocalIp ?? null,
    replaceExisting,
    numPreviousAttempts,
    credentials,
  };
}

export const registrationRows: readonly Row[] = [
  { id: "REG-01", title: "a registration", own: {}, run: firstRegistration },
  {
    id: "REG-02",
    title: "four addresses",
    own: {},
    async run({ edge, start }) {
      start({ connections: 4, addresses: 4 });
      await edge.registered(4);
      const { registrations } = edge;
      return {
        first: registrations[0]?.connIndex ?? null,
        indexes: registrations.map(({ connIndex }) => connIndex).sort((a, b) => a - b),
        clients: new Set(registrations.map(({ clientId }) => clientId)).size,
        tunnels: new Set(registrations.map(({ tunnelId }) => tunnelId)).size,
      };
    },
  },
  {
    id: "REG-03",
    title: "four connections wanted, one address given",
    own: {},
    async run({ edge, start }) {
      start({ connections: 4, addresses: 1 });
      await edge.registered(1);
      return { more: await comesTrue(2_000, () => edge.registrations.length > 1) };
    },
  },
  {
    id: "REG-04",
    title: "the bootstrap is not answered before the call",
    own: {},
    async run({ edge, start }) {
      // Nothing is answered at all: whatever comes, comes without an answer.
      const opened = serveControl(edge, () => {});
      start();
      const log = await within(RETRY_MS, "a control stream", opened);
      await comesTrue(5_000, () => log.messages.length >= 2);
      return { messages: log.messages.slice(0, 2), target: log.targets[0] ?? null };
    },
  },
  {
    id: "REG-06a",
    title: "a tunnel that is managed locally: the configuration is sent, by the first connection alone",
    own: { remotelyManaged: false },
    async run({ edge, start }) {
      start({ connections: 2, addresses: 2 });
      await edge.registered(2);
      await edge.until(() => edge.localConfigurations.length > 0);
      const more = await comesTrue(500, () => edge.localConfigurations.length > 1);
      const [sent] = edge.localConfigurations;
      return { connIndex: sent?.connIndex ?? null, config: JSON.parse(sent?.config ?? "null") as Json, more };
    },
  },
  {
    id: "REG-06b",
    title: "a tunnel that is managed remotely: no configuration is sent",
    own: {},
    async run({ edge, start }) {
      start();
      await edge.registered(1);
      return { sent: await comesTrue(500, () => edge.localConfigurations.length > 0) };
    },
  },
  {
    id: "REG-07",
    title: "updateLocalConfiguration is answered with an exception",
    own: {},
    async run({ edge, start }) {
      let sent = 0;
      const opened = serveControl(edge, (channel) => {
        serveRegistration(channel, {
          registerConnection: ({ connIndex }) => accepted(connIndex, false),
          unregisterConnection() {},
          updateLocalConfiguration() {
            sent++;
            throw new Error("no configuration, please");
          },
        });
      });
      start();
      await within(RETRY_MS, "a control stream", opened);
      await comesTrue(5_000, () => sent > 0);
      const [connection] = edge.connections;
      await connection?.ping();
      const stream = connection?.openStream({ authority: "app.example.com", end: true });
      const head = await stream?.head;
      return { sent, status: head?.status ?? null, connections: edge.connections.length };
    },
  },
  {
    id: "REG-08",
    title: "registerConnection is never answered",
    own: {},
    async run({ edge, start }) {
      const opened = serveControl(edge, (channel) => {
        serveRegistration(channel, {
          registerConnection: () => new Promise(() => {}),
          unregisterConnection() {},
          updateLocalConfiguration() {},
        });
      });
      start({ rpcTimeoutMs: 1_000 });
      const log = await within(RETRY_MS, "a control stream", opened);
      const ended = await comesTrue(5_000, () => log.ended);
      // Release and Abort may be missing: in cloudflared they race with the end of the connection.
      const messages = new Set(log.messages.filter((kind) => kind !== "release" && kind !== "abort"));
      return { messages: [...messages].sort(), ended };
    },
  },
  faultRow("REG-09", "the error EDUPCONN", { kind: "duplicate" }),
  faultRow("REG-10", "an error that says Unauthorized", { kind: "refuse", cause: "Unauthorized: Tunnel not found" }),
  faultRow("REG-11a", "another error, not to be retried", { kind: "refuse", cause: "there is no such tunnel" }),
  faultRow("REG-11b", "another error, to be retried", { kind: "refuse", cause: "busy", shouldRetry: true }),
  {
    id: "REG-13",
    title: "an error that is not to be retried, on the second connection",
    own: {},
    async run({ edge, start }) {
      edge.fail({ kind: "refuse", cause: "there is no such tunnel" }, { connIndex: 1 });
      const instance = start({ connections: 2, addresses: 3 });
      const both = edge.registered(2, { timeoutMs: RETRY_MS }).then(() => "registers");
      both.catch(() => {});
      return {
        result: await Promise.race([both, instance.exit.then((status) => `exits ${status}`)]),
        attempts: edge.registrations.filter(({ connIndex }) => connIndex === 1).length,
      };
    },
  },
  faultRow("REG-15a", "a connection id of five bytes", { kind: "uuid-length", length: 5 }),
  faultRow("REG-15b", "a result that is neither error nor details", { kind: "unknown-result" }),
  faultRow("REG-15c", "an exception in the place of a result", { kind: "exception", reason: "it broke" }),
  faultRow("REG-16a", "64 bytes 0xff on the control stream", { kind: "malformed" }),
  faultRow("REG-16b", "a segment table of 4 GiB on the control stream", {
    kind: "malformed",
    bytes: Buffer.from("00000000ffffffff", "hex"),
  }),
  faultRow("REG-16c", "4,096 segments on the control stream", {
    kind: "malformed",
    bytes: Buffer.concat([Buffer.from("ff0f0000", "hex"), Buffer.alloc(4096 * 4 + 4)]),
  }),
  faultRow("REG-17a", "the control stream ends before the answer", { kind: "end-control-stream" }),
  faultRow("REG-17b", "the control stream is reset before the answer", { kind: "reset-control-stream" }),
  faultRow("REG-17c", "TCP is closed before the answer", { kind: "drop" }),
  {
    id: "REG-18a",
    title: "the control stream is ended after the registration",
    own: {},
    async run(context) {
      context.edge.fail({ kind: "end-control-after" });
      return await afterControl(context);
    },
  },
  {
    id: "REG-18b",
    title: "the control stream is reset after the registration",
    own: {},
    async run(context) {
      context.edge.fail({ kind: "reset-control-after" });
      return await afterControl(context);
    },
  },
];

/** Whether it goes on serving, and whether it registers anew. */
async function afterControl({ edge, start }: RowContext): Promise<Json> {
  const instance = start();
  await edge.registered(1);
  const again = await comesTrue(3_000, () => edge.registrations.length > 1);
  if (again) await edge.registered(1);
  const answer = await ask(edge, { path: "/length" });
  const exited = await Promise.race([instance.exit.then(() => true), Promise.resolve(false)]);
  return { registersAnew: again, serves: JSON.stringify(answer).includes('"status":200'), exited };
}
