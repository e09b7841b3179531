/** Readiness, TLS and shutdown: cases SUP and SHUT. */
import type { Connection } from "../../../src/mock-edge/index.ts";
import { ask, type Ended, readToEnd } from "./observe.ts";
import { comesTrue, type Json, type Row, untilReady, within } from "./row.ts";

/** A request that the origin holds open. `ended` resolves when it is over. */
async function hold(connection: Connection | undefined): Promise<{ readonly ended: Promise<Ended> }> {
  const stream = connection?.openStream({ authority: "app.example.com", path: "/hold", end: true });
  if (stream === undefined) throw new Error("no stream");
  await within(5_000, "a head", stream.head);
  return { ended: readToEnd(stream) };
}

export const lifeRows: readonly Row[] = [
  {
    id: "SUP-01",
    title: "/ready while registered, and while draining",
    own: { closeDrained: false },
    async run({ edge, origin, start }) {
      const instance = start({ graceMs: 3_000 });
      const [connection] = await edge.registered(1);
      await within(10_000, "readiness", untilReady(instance));
      const registered = await instance.ready();
      const held = await hold(connection);
      instance.stop();
      await edge.until(() => connection?.state === "draining");
      const draining = await instance.ready();
      origin.held[0]?.end();
      await held.ended;
      return {
        registered: { status: registered.status, body: JSON.parse(registered.body) as Json },
        draining: { status: draining.status, body: JSON.parse(draining.body) as Json },
      };
    },
  },
  ...(["untrusted", "wrong-name", "expired"] as const).map(
    (certificate): Row => ({
      id: `SUP-04 ${certificate}`,
      title: `a certificate that is ${certificate}, until it is right`,
      own: { certificate },
      async run({ edge, start }) {
        const instance = start();
        const early = await comesTrue(1_500, () => edge.registrations.length > 0);
        edge.useCertificate("valid");
        const registered = edge.registered(1, { timeoutMs: 60_000 }).then(() => "registers");
        registered.catch(() => {});
        const result = await Promise.race([registered, instance.exit.then((code) => `exits ${code}`)]);
        return { registersOnIt: early, afterwards: result };
      },
    }),
  ),
  {
    id: "SUP-05",
    only: "http2",
    title: "TLS 1.2 with AEAD suites",
    own: { maxTlsVersion: "TLSv1.2" },
    async run({ edge, start }) {
      start();
      const [connection] = await edge.registered(1);
      return { tls: connection?.tlsVersion ?? null };
    },
  },
  {
    id: "SUP-06",
    title: "one of two connections is closed",
    own: {},
    async run({ edge, start }) {
      const instance = start({ connections: 2, addresses: 3 });
      const connections = await edge.registered(2);
      await within(10_000, "readiness", untilReady(instance, 2));
      const [first] = connections;
      const other = connections[1];
      const index = first?.registration?.connIndex;
      first?.drop();
      await first?.closed;
      const meanwhile = await ask(edge, { path: "/length" });
      await edge.registered(2, { timeoutMs: 60_000 });
      return {
        meanwhile,
        sameIndexReturns: edge.registrations.at(-1)?.connIndex === index,
        otherUntouched: other?.state === "registered",
      };
    },
  },
  {
    id: "SHUT-01",
    title: "SIGTERM, the edge is passive: requests in flight and new ones are served",
    own: { closeDrained: false },
    async run({ edge, origin, start }) {
      const instance = start({ graceMs: 3_000 });
      const [connection] = await edge.registered(1);
      const held = await hold(connection);
      instance.stop();
      await edge.until(() => connection?.state === "draining");
      const fresh = connection?.openStream({ authority: "app.example.com", path: "/length", end: true });
      const freshStatus = fresh === undefined ? null : (await within(5_000, "a head", fresh.head)).status;
      fresh?.resume();
      origin.held[0]?.end("finished");
      const inFlight = await held.ended;
      return {
        newRequest: freshStatus,
        inFlight: { ...inFlight },
        exit: await within(15_000, "the exit", instance.exit),
      };
    },
  },
  {
    id: "SHUT-02",
    title: "SIGTERM, the edge closes what has drained",
    own: {},
    async run({ edge, origin, start }) {
      const instance = start({ graceMs: 20_000 });
      const [connection] = await edge.registered(1);
      const held = await hold(connection);
      instance.stop();
      await edge.until(() => connection?.state === "draining");
      origin.held[0]?.end("finished");
      const inFlight = await held.ended;
      // Within far less than the grace period.
      return { inFlight: { ...inFlight }, exit: await within(10_000, "the exit", instance.exit) };
    },
  },
  {
    id: "SHUT-03",
    title: "SIGTERM, no grace period",
    own: { closeDrained: false },
    async run({ edge, start }) {
      const instance = start({ graceMs: 0 });
      const [connection] = await edge.registered(1);
      await hold(connection);
      instance.stop();
      return { exit: await within(5_000, "the exit", instance.exit) };
    },
  },
  {
    id: "SHUT-04",
    title: "SIGTERM, a request takes longer than the grace period",
    own: { closeDrained: false },
    async run({ edge, start }) {
      const instance = start({ graceMs: 1_000 });
      const [connection] = await edge.registered(1);
      const held = await hold(connection);
      instance.stop();
      const inFlight = await held.ended;
      return { cleanEnd: inFlight.end === "clean", exit: await within(15_000, "the exit", instance.exit) };
    },
  },
  {
    id: "SHUT-05",
    title: "SIGTERM before the registration",
    own: {},
    async run({ edge, start }) {
      edge.fail({ kind: "never-answer" });
      const instance = start({ graceMs: 1_000 });
      await edge.until(() => edge.connections.some(({ state }) => state === "registering"));
      instance.stop();
      return { exit: await within(15_000, "the exit", instance.exit) };
    },
  },
];
