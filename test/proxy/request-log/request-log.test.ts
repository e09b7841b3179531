/** What is written of a request, by mode. */
import { describe, expect, it } from "vitest";
import { HeaderField } from "../../../src/protocol/bytes/header-field.ts";
import { RequestLog, type RequestLogMode } from "../../../src/proxy/request-log/request-log.ts";
import { shownHeaders } from "../../../src/proxy/request-log/shown-headers.ts";
import type { OutcomeClass, StreamSink } from "../../../src/types.ts";
import { recordingLogger } from "../../connector/fake-edge.ts";
import { FakeStream, httpRequest } from "../fake-stream.ts";

const RESULT = {
  kind: "http",
  connIndex: 2,
  method: "POST",
  host: "app.example",
  path: "/login?password=hunter2",
  status: 200,
  phase: undefined,
  milliseconds: 12.4,
  error: undefined,
  ray: "8a1-FRA",
  ingressRule: 1,
} as const;

/** A request of ten bytes that is answered with four. */
function run(mode: RequestLogMode, outcome: OutcomeClass = "ok") {
  const { logger, lines } = recordingLogger();
  const log = new RequestLog(mode, logger);
  const stream = new FakeStream();
  const headers = [new HeaderField("Cookie", "sid=1"), new HeaderField("User-Agent", "curl/8")];
  const { request, observed } = log.observe(httpRequest(stream, { headers }));
  const sink: StreamSink = { onData() {}, onEnd() {}, onCancel() {}, onWritable() {} };
  request.stream.sink = sink;
  stream.sink.onData(Buffer.alloc(10));
  stream.sink.onEnd([]);
  const answer = [new HeaderField("Set-Cookie", "sid=2"), new HeaderField("Content-Type", "text/plain")];
  request.stream.respond({ status: 200, headers: answer, contentLength: 4, source: "origin" }, false);
  request.stream.write(Buffer.from("body"), true);
  log.finished(request, { ...RESULT, class: outcome }, "http://127.0.0.1:8080", observed);
  return { lines, stream };
}

const levels = (mode: RequestLogMode): readonly string[] =>
  (["ok", "client-abort", "edge-lost", "origin-refused"] as const).map(
    (outcome) =>
      run(mode, outcome)
        .lines.map(({ level }) => level)
        .join() || "-",
  );

describe("the modes", () => {
  it("decide which requests have a line, and at which level", () => {
    expect(levels("off")).toEqual(["-", "-", "-", "-"]);
    expect(levels("errors")).toEqual(["debug", "debug", "info", "warn"]);
    expect(levels("summary")).toEqual(["info", "info", "info", "warn"]);
    expect(levels("headers")).toEqual(["info", "info", "info", "warn"]);
  });

  it("off tells those who follow the log from afar all the same, and nobody else", () => {
    const own = recordingLogger();
    const far = recordingLogger();
    const tap = { attached: false, followers: far.logger };
    const log = new RequestLog("off", own.logger, tap);
    const { request, observed } = log.observe(httpRequest(new FakeStream()));
    log.finished(request, { ...RESULT, class: "ok" }, "service", observed);
    tap.attached = true;
    log.finished(request, { ...RESULT, class: "origin-refused" }, "service", observed);
    expect(own.lines).toEqual([]);
    expect(far.lines).toMatchObject([{ level: "warn", message: "Request failed", fields: { path: "/login" } }]);
  });

  it("leave the stream alone where nothing of it is told", () => {
    for (const mode of ["off", "errors"] as const) {
      const request = httpRequest(new FakeStream());
      expect(new RequestLog(mode, recordingLogger().logger).observe(request)).toEqual({ request, observed: undefined });
    }
  });

  it("summary tells who asked for what, what came of it, how long it took, and how much went through", () => {
    const { lines, stream } = run("summary");
    expect(lines).toMatchObject([
      {
        level: "info",
        message: "Request served",
        fields: {
          outcome: "ok",
          kind: "http",
          connIndex: 2,
          ray: "8a1-FRA",
          method: "POST",
          host: "app.example",
          path: "/login",
          status: 200,
          ms: 12,
          ingressRule: 1,
          originService: "http://127.0.0.1:8080",
          bytesIn: 10,
          bytesOut: 4,
        },
      },
    ]);
    expect(Buffer.concat(stream.chunks).toString()).toBe("body");
  });

  it("headers adds both sides' headers, without what lets anybody in", () => {
    const { fields } = run("headers").lines[0] ?? {};
    expect(fields).toMatchObject({
      requestHeaders: { cookie: "[redacted]", "user-agent": "curl/8" },
      responseHeaders: { "set-cookie": "[redacted]", "content-type": "text/plain" },
    });
  });
});

describe("headers in a log", () => {
  it.each([
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "Cf-Access-Jwt-Assertion",
    "CF-Access-Client-Secret",
    "CF-Access-Client-Id",
    "X-Api-Key",
    "apikey",
    "X-Auth-Token",
    "X-Amz-Security-Token",
    "X-CSRF-Token",
    "X-Hub-Signature-256",
    "Stripe-Signature",
    "X-Session-Id",
    "X-Functions-Key",
    "Ocp-Apim-Subscription-Key",
    "Auth",
    "X-OTP",
    "DPoP",
    "Sec-WebSocket-Protocol",
    "X-Forwarded-Client-Cert",
  ])("%s is not shown", (name) => {
    expect(JSON.stringify(shownHeaders([new HeaderField(name, "s3cr3t")]))).not.toContain("s3cr3t");
  });

  it.each(["Bearer s3cr3t", "basic s3cr3t", "Token s3cr3t"])("%s is not, whatever the header is called", (value) => {
    expect(shownHeaders([new HeaderField("X-Custom", value)])).toEqual({ "x-custom": "[redacted]" });
  });

  it("URLs lose their queries, long values their ends, and long lists the rest", () => {
    const shown = shownHeaders([
      new HeaderField("Referer", "https://a.example/reset?code=s3cr3t#at=s3cr3t"),
      new HeaderField("Location", "/next?ticket=s3cr3t"),
      new HeaderField("Link", '</a?k=s3cr3t>; rel="next", </b>; rel="prev"'),
      new HeaderField("X-Original-URL", "/x?y=s3cr3t"),
      new HeaderField("Content-Location", "?y=s3cr3t"),
      new HeaderField("X-Accel-Redirect", "/x?y=1,2;z=s3cr3t"),
      new HeaderField("Destination", "https://me:s3cr3t@a.example/x?ids='1',2&y=s3cr3t"),
      new HeaderField("Sec-CH-UA-Mobile", "?0"),
      new HeaderField("Accept", "a".repeat(1_000)),
      new HeaderField("Via", "1.1 one"),
      new HeaderField("via", "1.1 two"),
      ...Array.from({ length: 100 }, (_, i) => new HeaderField(`X-${i}`, "v")),
    ]);
    expect(JSON.stringify(shown)).not.toContain("s3cr3t");
    expect(shown["referer"]).toBe("https://a.example/reset?…");
    expect(shown["link"]).toBe('</a?…>; rel="next", </b>; rel="prev"');
    expect(shown["destination"]).toBe("https://…@a.example/x?…");
    expect(shown["sec-ch-ua-mobile"]).toBe("?0");
    expect(shown["accept"]).toBe(`${"a".repeat(256)}…`);
    expect(shown["via"]).toEqual(["1.1 one", "1.1 two"]);
    expect(Object.keys(shown).length).toBeLessThanOrEqual(50);
  });

  it.each(["Author", "X-Forwarded-Authority", "Monkey", "Keep-Alive"])("%s is", (name) => {
    expect(shownHeaders([new HeaderField(name, "x")])).toEqual({ [name.toLowerCase()]: "x" });
  });

  it("a header that is called as an object's prototype is one of many", () => {
    const shown = shownHeaders([new HeaderField("__proto__", "x"), new HeaderField("constructor", "y")]);
    expect(Object.entries(shown)).toEqual([
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
  });
});
