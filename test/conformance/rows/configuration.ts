/** Configurations that the edge pushes: cases CFG, and TCP-03, whose limit comes with one. */
import { readToEnd, describeAnswer, describeHead, ask, UPGRADE } from "./observe.ts";
import { type Json, type Row, type RowContext, within } from "./row.ts";

const HOST = "app.example.com";

/** Status of one GET. */
async function status({ edge }: RowContext, connIndex?: number): Promise<Json> {
  const request = { authority: HOST, path: "/length", end: true };
  const stream = edge.openStream(request, connIndex === undefined ? {} : { connIndex });
  const head = await within(5_000, "a head", stream.head);
  stream.resume();
  return head.status;
}

/** Pushes one configuration, and tells the answer; of an error only that there is one. */
async function push({ edge }: RowContext, version: number, config: unknown, connIndex?: number): Promise<Json> {
  const [result] = await edge.pushConfiguration(version, config, connIndex === undefined ? {} : { connIndex });
  return { lastAppliedVersion: result?.lastAppliedVersion ?? null, error: result?.error === null ? null : "set" };
}

const answers = (code: number): object => ({ ingress: [{ service: `http_status:${code}` }] });

/** Starts a connector that serves `config`. */
export async function serve(
  context: RowContext,
  config: object,
  options: Parameters<RowContext["start"]>[0] = {},
): Promise<void> {
  context.start(options);
  await context.edge.registered(options.connections ?? 1);
  const [result] = await context.edge.pushConfiguration(1, config);
  if (result?.error !== null || result.lastAppliedVersion !== 1) {
    throw new Error(`the configuration was not applied: ${JSON.stringify(result)}`);
  }
}

/** Pushes configurations one after another as versions 2, 3, …, over one that answers 418. */
function pushes(id: string, title: string, configs: Readonly<Record<string, unknown>>): Row {
  return {
    id,
    title,
    own: {},
    async run(context) {
      await serve(context, answers(418));
      const steps: Record<string, Json> = {};
      let version = 1;
      for (const [name, config] of Object.entries(configs)) {
        version++;
        steps[name] = { version, reply: await push(context, version, config), nextRequest: await status(context) };
      }
      return steps;
    },
  };
}

/** Sends a body as a push that the mock edge would not make. */
function pushRaw({ edge }: RowContext, body: string): Promise<Json> {
  return ask(edge, { method: "POST", path: "/", fields: [[UPGRADE, "update-configuration"]] }, body);
}

function openTcp({ edge, origin }: RowContext) {
  return edge.openStream({ authority: origin.tcp, fields: [["cf-cloudflared-proxy-src", "192.0.2.1"]] });
}

/** Opens TCP streams up to a limit of one, and after the first has ended. */
async function overLimit(context: RowContext): Promise<Json> {
  const first = openTcp(context);
  const opened = await within(5_000, "a head", first.head);
  const over = await describeAnswer(openTcp(context));
  first.cancel();
  await within(5_000, "the end of the first", new Promise((resolve) => first.on("close", resolve)));
  for (;;) {
    const next = openTcp(context);
    const { status: freed } = await within(5_000, "a head", next.head);
    next.destroy();
    if (freed === 200) return { first: opened.status, over, freed };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const configurationRows: readonly Row[] = [
  {
    id: "CFG-01",
    title: "a configuration is pushed, again, and then a wrong one",
    own: {},
    async run(context) {
      context.start();
      await context.edge.registered(1);
      const steps: Json[] = [];
      const configs: readonly (readonly [number, unknown])[] = [
        [5, answers(418)],
        [5, answers(404)],
        [4, answers(404)],
        [6, { ingress: [{ hostname: "a.example.com", service: "http_status:404" }] }],
        [7, "[]"],
        [8, answers(410)],
      ];
      for (const [version, config] of configs) {
        steps.push({ version, reply: await push(context, version, config), nextRequest: await status(context) });
      }
      return steps;
    },
  },
  {
    id: "CFG-02",
    title: "versions around the first one",
    own: {},
    async run(context) {
      context.start();
      await context.edge.registered(1);
      const steps: Json[] = [];
      for (const [index, version] of [-1, -2_147_483_648, 0, 0, -1, 2_147_483_647, 1].entries()) {
        const reply = await push(context, version, answers(411 + index));
        steps.push({ version, reply, nextRequest: await status(context) });
      }
      return steps;
    },
  },
  pushes("CFG-03a", "configurations that are wrong", {
    "no catch-all": { ingress: [{ hostname: "a.example.com", service: "http_status:404" }] },
    "a path in the last rule": { ingress: [{ path: "/a", service: "http_status:404" }] },
    "a list": [],
    "a text": '"x"',
    "a number": 5,
    "rules that are no list": { ingress: { service: "http_status:404" } },
    "a rule that is no object": { ingress: [5] },
    "no service": { ingress: [{ hostname: "" }] },
    "a service without a scheme": { ingress: [{ service: "localhost:8080" }] },
    "a service with a path": { ingress: [{ service: "http://localhost:8080/path" }] },
    "a status that is none": { ingress: [{ service: "http_status:99" }] },
    "a path that is no expression": { ingress: [{ path: "(", service: "http_status:404" }, { service: "bastion" }] },
    "a lookahead": { ingress: [{ path: "(?=a)", service: "http_status:404" }, { service: "bastion" }] },
    "a port in a hostname": { ingress: [{ hostname: "a:80", service: "bastion" }, { service: "bastion" }] },
    "a wildcard in the middle": { ingress: [{ hostname: "a.*.b", service: "bastion" }, { service: "bastion" }] },
    "a catch-all that is not the last": { ingress: [{ service: "bastion" }, { service: "bastion" }] },
    "access without a team": {
      ingress: [{ service: "bastion", originRequest: { access: { required: true, audTag: ["x"] } } }],
    },
    "a file that is not there": {
      ingress: [{ service: "https://localhost:1", originRequest: { caPool: "/nowhere/ca.pem" } }],
    },
    "a truth that is a text": { ingress: [{ service: "bastion" }], originRequest: { noTLSVerify: "true" } },
    "a limit below 0": { ingress: [{ service: "bastion" }], "warp-routing": { maxActiveFlows: -1 } },
    "a right one": answers(410),
  }),
  pushes("CFG-03b", "configurations that are right, or nearly", {
    "unknown keys": { ...answers(411), extra: { a: 1 }, ingress: [{ id: "1", service: "http_status:411", more: [] }] },
    "an id, and warp-routing as it was once": { ...answers(412), "warp-routing": { enabled: true } },
    "no rules": {},
    "an empty list": { ingress: [] },
    "rules that are null": { ingress: null },
    "durations of whole seconds": { ...answers(413), originRequest: { connectTimeout: 5, tcpKeepAlive: -1 } },
    "ip rules": {
      ingress: [
        {
          service: "socks-proxy",
          hostname: "a",
          originRequest: { ipRules: [{ prefix: "::/0", ports: [], allow: true }] },
        },
        { service: "http_status:414" },
      ],
    },
  }),
  pushes("CFG-03c", "null in the place of a configuration", { null: "null" }),
  pushes("CFG-03d", "durations that are texts, fractions, nanoseconds", {
    "a text": { ...answers(411), originRequest: { connectTimeout: "5s" } },
    "a fraction": { ...answers(412), originRequest: { connectTimeout: 0.5 } },
    nanoseconds: { ...answers(413), originRequest: { connectTimeout: 30_000_000_000 } },
  }),
  pushes("CFG-03e", "schemes that nobody knows, and a name with a star in it", {
    gopher: { ingress: [{ hostname: "a", service: "gopher://localhost:70" }, { service: "http_status:411" }] },
    "a star without a dot": { ingress: [{ hostname: "*a.com", service: "bastion" }, { service: "http_status:412" }] },
  }),
  {
    id: "CFG-04",
    only: "http2",
    title: "a pushed configuration that is not JSON",
    async run(context) {
      return { answer: await pushRaw(context, "{broken"), next: await ask(context.edge, { path: "/length" }) };
    },
  },
  {
    id: "CFG-04b",
    only: "http2",
    title: "pushes that are JSON, but no push",
    own: {},
    async run(context) {
      await serve(context, answers(418));
      const bodies = ["", "[]", "5", '"x"', '{"version":"2"}', '{"version":2.5}', '{"version":2147483648}'];
      const steps: Record<string, Json> = {};
      for (const body of bodies) steps[body] = await pushRaw(context, body);
      return { ...steps, nextRequest: await status(context) };
    },
  },
  {
    id: "CFG-04c",
    only: "http2",
    title: "a push without a version, or without a configuration",
    own: {},
    async run(context) {
      await serve(context, answers(418));
      const steps: Record<string, Json> = {};
      for (const body of ["{}", '{"config":{}}', '{"version":2}', "null"]) {
        const answer = await pushRaw(context, body);
        steps[body] = JSON.parse(
          JSON.stringify(answer).replace(/\\"err\\":\\?[{"].*?[}"]\}/, '\\"err\\":\\"set\\"}'),
        ) as Json;
      }
      return { ...steps, nextRequest: await status(context) };
    },
  },
  {
    id: "CFG-07",
    title: "a request under way keeps its rule",
    own: {},
    async run(context) {
      const { edge, origin } = context;
      await serve(context, { ingress: [{ service: origin.url }] });
      const stream = edge.openStream({ authority: HOST, path: "/hold", end: true });
      const head = describeHead(await within(5_000, "a head", stream.head));
      const ended = readToEnd(stream);
      const reply = await push(context, 2, answers(404));
      const next = await status(context);
      origin.held[0]?.end("finished");
      return { head, reply, next, held: { ...(await ended) } };
    },
  },
  {
    id: "CFG-08",
    title: "a push on one connection counts for all",
    own: {},
    async run(context) {
      context.start({ connections: 2 });
      await context.edge.registered(2);
      return {
        on1: await push(context, 1, answers(418), 1),
        request0: await status(context, 0),
        olderOn0: await push(context, 0, answers(404), 0),
        request1: await status(context, 1),
      };
    },
  },
  {
    id: "CFG-09",
    title: "no rules: what the visitor gets",
    own: {},
    async run(context) {
      await serve(context, {});
      return {
        get: await ask(context.edge, { path: "/" }),
        post: await ask(context.edge, { method: "POST", path: "/" }, "body"),
      };
    },
  },
  {
    id: "CFG-10",
    title: "the rules of this machine give way to those of the edge, and come back with no version",
    own: { remotelyManaged: false },
    async run(context) {
      context.start();
      await context.edge.registered(1);
      const local = await status(context);
      const reply = await push(context, 0, answers(418));
      return { local, reply, remote: await status(context), again: await push(context, 0, answers(404)) };
    },
  },
  {
    id: "CFG-11",
    only: "http2",
    title: "a push while the connector drains",
    own: { closeDrained: false },
    async run(context) {
      const { edge, origin } = context;
      const instance = context.start({ graceMs: 3_000 });
      const [connection] = await edge.registered(1);
      const held = connection?.openStream({ authority: HOST, path: "/hold", end: true });
      if (connection === undefined || held === undefined) throw new Error("no stream");
      await within(5_000, "a head", held.head);
      instance.stop();
      await edge.until(() => connection.state === "draining");
      const stream = connection.openStream({
        method: "POST",
        authority: HOST,
        fields: [[UPGRADE, "update-configuration"]],
      });
      if (stream === undefined) throw new Error("no stream");
      stream.end(JSON.stringify({ version: 3, config: answers(418) }));
      const { body } = await readToEnd(stream);
      origin.held[0]?.end();
      await readToEnd(held);
      const { lastAppliedVersion, err } = JSON.parse(body) as Record<string, unknown>;
      return { lastAppliedVersion: lastAppliedVersion === 3 ? 3 : -1, error: err === null ? null : "set" };
    },
  },
  {
    id: "TCP-03a",
    title: "more TCP streams than the edge's limit",
    own: {},
    async run(context) {
      await serve(context, { "warp-routing": { maxActiveFlows: 1 } });
      return await overLimit(context);
    },
  },
  {
    id: "TCP-03b",
    title: "the local limit counts before the edge's",
    own: {},
    async run(context) {
      await serve(context, { "warp-routing": { maxActiveFlows: 100 } }, { maxActiveFlows: 1 });
      return await overLimit(context);
    },
  },
];
