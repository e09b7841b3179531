/** Configurations from Cloudflare and from this machine: which ones count, and what is answered to the others. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Orchestrator } from "../../src/connector/orchestrator.ts";
import { defaultOriginRequest, defaultWarpRouting, singleService } from "../../src/proxy/ingress/defaults.ts";
import type { Ingress } from "../../src/types.ts";
import { recordingLogger } from "./fake-edge.ts";

const local = singleService({ kind: "status", status: 204 }, defaultOriginRequest);
const status = (code: number): object => ({ ingress: [{ service: `http_status:${code}` }] });

function orchestrate(
  options: { maxActiveFlows?: number; fails?: boolean; files?: Readonly<Record<string, string>> } = {},
) {
  const { lines, logger } = recordingLogger();
  const applied: Ingress[] = [];
  const told: [version: number, source: string][] = [];
  const orchestrator = new Orchestrator({
    ingress: local,
    context: {
      handlers: { app: { kind: "fetch", fetch: () => new Response(), upgrade: undefined } },
      readFile(path) {
        const text = options.files?.[path];
        if (text === undefined) throw new Error(`can't read ${path}: no such file`);
        return text;
      },
    },
    maxActiveFlows: options.maxActiveFlows,
    apply(ingress) {
      if (options.fails === true) throw new Error("it can't be started");
      applied.push(ingress);
    },
    onApplied: (version, source) => told.push([version, source]),
    logger,
  });
  return { orchestrator, lines, applied, told };
}

const services = (ingress: Ingress | undefined): unknown => ingress?.rules.map(({ service }) => service);

describe("a configuration from Cloudflare", () => {
  it("is applied when its version is newer, from 0 on", () => {
    const { orchestrator, applied, told } = orchestrate();
    expect(orchestrator.version).toBe(-1);
    expect(orchestrator.update(0, status(418))).toEqual({ lastAppliedVersion: 0 });
    expect(orchestrator.update(5, status(410))).toEqual({ lastAppliedVersion: 5 });
    expect(applied.map(services)).toEqual([[{ kind: "status", status: 418 }], [{ kind: "status", status: 410 }]]);
    expect(orchestrator.ingress).toBe(applied[1]);
    expect(told).toEqual([
      [0, "remote"],
      [5, "remote"],
    ]);
  });

  it("of the same or an older version changes nothing, and is no error, whatever it holds", () => {
    const { orchestrator, applied } = orchestrate();
    orchestrator.update(5, status(418));
    for (const version of [5, 4, 0, -1, -(2 ** 31)]) {
      expect(orchestrator.update(version, "nonsense")).toEqual({ lastAppliedVersion: 5 });
      expect(orchestrator.updateText(version, Buffer.from("{"))).toEqual({ lastAppliedVersion: 5 });
    }
    expect(applied).toHaveLength(1);
  });

  it("of a negative version is never applied", () => {
    const { orchestrator, applied } = orchestrate();
    expect(orchestrator.update(-1, status(418))).toEqual({ lastAppliedVersion: -1 });
    expect(orchestrator.update(-7, status(418))).toEqual({ lastAppliedVersion: -1 });
    expect(applied).toEqual([]);
  });

  it.each<[string, unknown, RegExp]>([
    ["no catch-all", { ingress: [{ hostname: "a.example.com", service: "http_status:404" }] }, /ingress\[0\].*rule 1/],
    ["a list", [], /no object/],
    ["nothing", null, /no object/],
    ["a text", "x", /no object/],
    ["rules that are none", { ingress: "x" }, /^ingress: /],
    ["an unknown service", { ingress: [{ service: "gopher://x" }] }, /ingress\[0\]\.service: .*gopher/],
    [
      "a duration in nanoseconds",
      { originRequest: { connectTimeout: 30_000_000_000 } },
      /connectTimeout: .*in seconds/,
    ],
    ["a file that is not there", { originRequest: { caPool: "/none.pem" } }, /caPool: .*no such file/],
    ["a handler that is not there", { ingress: [{ service: "handler:other" }] }, /other/],
    ["a limit below 0", { "warp-routing": { maxActiveFlows: -1 } }, /warp-routing\.maxActiveFlows: /],
  ])("with %s leaves the last good one, and says why", (_name, config, reason) => {
    const { orchestrator, applied, lines } = orchestrate();
    orchestrator.update(3, status(418));
    const before = orchestrator.ingress;
    const answer = orchestrator.update(4, config);
    expect(answer).toEqual({ lastAppliedVersion: 3, error: expect.stringMatching(reason) });
    expect(orchestrator.version).toBe(3);
    expect(orchestrator.ingress).toBe(before);
    expect(applied).toHaveLength(1);
    expect(lines.at(-1)).toMatchObject({
      level: "error",
      message: "Failed to deserialize new configuration",
      fields: { version: 4, error: answer.error },
    });
    expect(orchestrator.lastError).toBe(answer.error);
    // What failed may be sent right under the same version.
    expect(orchestrator.update(4, status(404))).toEqual({ lastAppliedVersion: 4 });
    expect(orchestrator.lastError).toBeUndefined();
  });

  it("that can't be started leaves the last good one", () => {
    const { orchestrator, lines, told } = orchestrate({ fails: true });
    expect(orchestrator.update(1, status(418))).toEqual({ lastAppliedVersion: -1, error: "it can't be started" });
    expect(orchestrator.ingress).toBe(local);
    expect(lines.at(-1)).toMatchObject({ level: "error", message: "Failed to update ingress" });
    expect(told).toEqual([]);
  });

  it("without rules answers 503", () => {
    const { orchestrator, applied } = orchestrate();
    expect(orchestrator.update(1, {})).toEqual({ lastAppliedVersion: 1 });
    expect(orchestrator.update(2, { ingress: [] })).toEqual({ lastAppliedVersion: 2 });
    const none = { kind: "status", status: 503, unconfigured: true };
    expect(applied.map(services)).toEqual([[none], [none]]);
  });

  it("has its text looked at only when it is new", () => {
    const { orchestrator } = orchestrate();
    expect(orchestrator.updateText(1, Buffer.from("{truncated"))).toEqual({
      lastAppliedVersion: -1,
      error: "the configuration is not JSON",
    });
    expect(orchestrator.updateText(1, Buffer.from(JSON.stringify(status(418))))).toEqual({ lastAppliedVersion: 1 });
  });

  it("has its limit of flows replaced by the local one", () => {
    const { orchestrator, applied } = orchestrate({ maxActiveFlows: 2 });
    orchestrator.update(1, { "warp-routing": { maxActiveFlows: 100, connectTimeout: 1 } });
    expect(applied[0]?.warpRouting).toEqual({ ...defaultWarpRouting, connectTimeoutMs: 1_000, maxActiveFlows: 2 });
    const { orchestrator: other, applied: otherApplied } = orchestrate();
    other.update(1, { "warp-routing": { maxActiveFlows: 100 } });
    expect(otherApplied[0]?.warpRouting.maxActiveFlows).toBe(100);
  });

  it("may name handlers of this process", () => {
    const { orchestrator, applied } = orchestrate();
    expect(orchestrator.update(1, { ingress: [{ service: "handler:app" }] })).toEqual({ lastAppliedVersion: 1 });
    expect(applied[0]?.rules[0]?.service.kind).toBe("fetch");
  });

  it("is refused once the tunnel ends", () => {
    const { orchestrator, applied } = orchestrate();
    orchestrator.update(1, status(418));
    orchestrator.end();
    expect(orchestrator.update(2, status(404))).toEqual({
      lastAppliedVersion: 1,
      error: expect.stringMatching(/already been shut down/),
    });
    expect(orchestrator.update(1, status(404))).toEqual({ lastAppliedVersion: 1 });
    expect(applied).toHaveLength(1);
  });
});

describe("its line in the log", () => {
  it("has the configuration as it came", () => {
    const { orchestrator, lines } = orchestrate();
    const config = { ingress: [{ hostname: "a.example.com", service: "http://localhost:1" }, { service: "bastion" }] };
    orchestrator.update(1, config);
    expect(lines).toMatchObject([
      {
        level: "info",
        message: "Updated to new configuration",
        fields: { version: 1, config: JSON.stringify(config) },
      },
    ]);
  });

  it("has no header that a rule sets, and no password of a URL", () => {
    const { orchestrator, lines } = orchestrate();
    const secret = Math.random().toString(36).slice(2);
    const originRequest = { requestHeaders: { set: { Authorization: secret }, remove: ["x"] } };
    orchestrator.update(1, { ingress: [{ service: `http://me:${secret}@localhost:1`, originRequest }] });
    orchestrator.update(2, { ingress: [{ service: `gopher://me:${secret}@localhost:1`, originRequest }] });
    expect(lines.map(({ message }) => message)).toContain("Updated to new configuration");
    expect(JSON.stringify(lines)).not.toContain(secret);
    expect(JSON.stringify(lines)).toContain("Authorization");
  });

  it("is not endless, nor is the answer", () => {
    const { orchestrator, lines } = orchestrate();
    const ingress = Array.from({ length: 5_000 }, (_, index) => ({ hostname: `h${index}:80`, service: `x${index}` }));
    const { error = "" } = orchestrator.update(1, { ingress });
    expect(error.length).toBeLessThan(2_100);
    expect(error).toMatch(/ingress\[0\].*and \d+ more$/);
    expect(JSON.stringify(lines).length).toBeLessThan(20_000);
  });

  it("tells of options without effect, and not of keys that a dashboard adds", () => {
    const { orchestrator, lines } = orchestrate();
    orchestrator.update(1, {
      "warp-routing": { enabled: true },
      ingress: [{ id: "1", service: "http_status:200", extra: 1 }],
    });
    expect(lines.filter(({ level }) => level === "warn")).toEqual([]);
    orchestrator.update(2, {
      ingress: [{ service: "http://localhost:1", originRequest: { access: { required: true } } }],
    });
    expect(lines.filter(({ level }) => level === "warn")).toMatchObject([
      { fields: { version: 2, options: expect.stringMatching(/every request is refused/) } },
    ]);
  });
});

describe("rules of this machine", () => {
  const other = singleService({ kind: "status", status: 201 }, defaultOriginRequest);

  it("take the place of those before", () => {
    const { orchestrator, applied, told } = orchestrate();
    expect(orchestrator.updateLocal(other)).toEqual({ result: "applied" });
    expect(applied).toEqual([other]);
    expect(orchestrator.ingress).toBe(other);
    expect(told).toEqual([[-1, "local"]]);
  });

  it("are refused from the first configuration of Cloudflare on", () => {
    const { orchestrator, applied } = orchestrate();
    orchestrator.update(0, status(418));
    expect(orchestrator.updateLocal(other)).toEqual({
      result: "refused",
      reason: expect.stringMatching(/come from Cloudflare \(version 0\)/),
    });
    expect(applied).toHaveLength(1);
  });

  it("have their limit of flows replaced too, are refused at the end, and may fail", () => {
    const { orchestrator, applied } = orchestrate({ maxActiveFlows: 9 });
    orchestrator.updateLocal(other);
    expect(applied[0]?.warpRouting.maxActiveFlows).toBe(9);
    orchestrator.end();
    expect(orchestrator.updateLocal(other)).toMatchObject({ result: "refused" });
    expect(orchestrate({ fails: true }).orchestrator.updateLocal(other)).toEqual({
      result: "failed",
      reason: "it can't be started",
    });
  });
});

describe("any JSON", () => {
  const words = fc.constantFrom(
    "http://localhost:1",
    "unix:/x",
    "http_status:200",
    "bastion",
    "tcp://a:1",
    "*",
    "",
    "a.example.com",
    "^/(",
    "30s",
    "socks",
    "__proto__",
  );
  const value = fc.oneof(
    { weight: 2, arbitrary: words },
    fc.jsonValue({ maxDepth: 3 }),
    fc.double(),
    fc.maxSafeInteger(),
  );
  const record = (...keys: string[]) =>
    fc.oneof(
      { weight: 1, arbitrary: value },
      {
        weight: 4,
        arbitrary: fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), value, {
          maxKeys: 6,
          noNullPrototype: true,
        }),
      },
    );
  const options = record(
    "connectTimeout",
    "tlsTimeout",
    "tcpKeepAlive",
    "noTLSVerify",
    "caPool",
    "ipRules",
    "access",
    "requestHeaders",
    "proxyType",
    "stripPrefix",
    "httpHostHeader",
    "keepAliveConnections",
    "responseHeaders",
    "proxyProtocol",
  );
  const rule = fc.record(
    { hostname: value, path: value, service: value, originRequest: options },
    { requiredKeys: [], noNullPrototype: true },
  );
  const config = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        ingress: fc.oneof(fc.array(fc.oneof(rule, value), { maxLength: 4 }), value),
        originRequest: options,
        "warp-routing": record("connectTimeout", "tcpKeepAlive", "maxActiveFlows"),
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  );

  it("is applied or refused with a reason, and never more than that", () => {
    let applied = 0;
    fc.assert(
      fc.property(fc.array(config, { minLength: 1, maxLength: 3 }), (configs) => {
        const { orchestrator } = orchestrate();
        configs.forEach((each, index) => {
          const text = Buffer.from(JSON.stringify(each));
          const before = orchestrator.version;
          const answer = orchestrator.updateText(index, text);
          if (answer.error === undefined) {
            applied++;
            expect(answer).toEqual({ lastAppliedVersion: index });
            expect(orchestrator.ingress.rules.length).toBeGreaterThan(0);
          } else {
            expect(answer.lastAppliedVersion).toBe(before);
            expect(answer.error).not.toMatch(/^$|is not a function|Cannot read|undefined|call stack/);
          }
        });
      }),
      { numRuns: 1_500, interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false },
    );
    expect(applied).toBeGreaterThan(10);
  });

  it("nested without end is refused, and shown as that", () => {
    const { orchestrator, lines } = orchestrate();
    const depth = 100_000;
    const deep = Buffer.from(`{"ingress":[{"service":${"[".repeat(depth)}${"]".repeat(depth)}}]}`);
    const answer = orchestrator.updateText(1, deep);
    expect(answer.error).toBeTypeOf("string");
    expect(JSON.stringify(lines).length).toBeLessThan(20_000);
  });
});
