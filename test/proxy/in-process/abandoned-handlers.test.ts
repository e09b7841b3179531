/** Handlers that go on when their visitors have left: any number of them can't be piled up. */
import { describe, expect, it } from "vitest";
import { AbandonedHandlers } from "../../../src/proxy/in-process/abandoned-handlers.ts";
import type { InProcessOrigin } from "../../../src/proxy/in-process/endpoint.ts";
import { MAX_ACTIVE_STREAMS } from "../../../src/protocol/http2/limits.ts";
import { FakeStream, httpRequest } from "../fake-stream.ts";
import { Harness } from "../harness.ts";
import { answer, fetchOrigin, listenerOrigin, serve } from "./serve.ts";

const MOST = 3;

/** An origin whose calls go on until they are released; a path of `/quick` is answered at once. */
interface Stubborn {
  readonly origin: InProcessOrigin;
  readonly started: () => number;
  readonly release: (call?: number) => void;
}

const ORIGINS: readonly [string, () => Stubborn][] = [
  [
    "a fetch handler",
    () => {
      const calls: (() => void)[] = [];
      const origin = fetchOrigin(async ({ url }) => {
        if (!url.endsWith("/quick")) await new Promise<void>((resolve) => calls.push(resolve));
        return new Response("done");
      });
      return { origin, started: () => calls.length, release: (call = 0) => calls[call]?.() };
    },
  ],
  [
    "an async listener",
    () => {
      const calls: (() => void)[] = [];
      const origin = listenerOrigin(async (request, response) => {
        if (request.url !== "/quick") await new Promise<void>((resolve) => calls.push(resolve));
        response.end("done");
      });
      return { origin, started: () => calls.length, release: (call = 0) => calls[call]?.() };
    },
  ],
  [
    "an async listener that fails",
    () => {
      const calls: ((error: Error) => void)[] = [];
      const origin = listenerOrigin(async (request, response) => {
        if (request.url !== "/quick") await new Promise<void>((_resolve, reject) => calls.push(reject));
        response.end("done");
      });
      return { origin, started: () => calls.length, release: (call = 0) => calls[call]?.(new Error("gave up")) };
    },
  ],
];

const turn = () => new Promise(setImmediate);

async function abandon(stubborn: Stubborn, abandoned: AbandonedHandlers, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const before = stubborn.started();
    const { stream, outcome } = serve(stubborn.origin, { abandoned });
    while (stubborn.started() === before) await turn();
    stream.cancel();
    expect((await outcome()).class).toBe("client-abort");
  }
}

describe.each(ORIGINS)("%s that goes on without its visitor", (_name, make) => {
  it("is not called again while so many go on, and is as soon as one has ended", async () => {
    const stubborn = make();
    const abandoned = new AbandonedHandlers(MOST);
    await abandon(stubborn, abandoned, MOST);
    const refused = await answer(stubborn.origin, { abandoned, path: "/quick" });
    expect(refused.stream.head?.status).toBe(503);
    expect(refused.stream.header("retry-after")).toBe("5");
    expect(await refused.outcome()).toMatchObject({
      class: "handler-error",
      status: 503,
      error: { code: "ERR_UNDERPASS_ABANDONED_HANDLERS" },
    });
    expect(stubborn.started()).toBe(MOST);
    stubborn.release();
    await turn();
    expect((await answer(stubborn.origin, { abandoned, path: "/quick" })).text).toBe("done");
    // One more fills the place that it left.
    await abandon(stubborn, abandoned, 1);
    expect((await answer(stubborn.origin, { abandoned, path: "/quick" })).stream.head?.status).toBe(503);
  });

  it("is no matter while its visitor waits, however many there are", async () => {
    const stubborn = make();
    const abandoned = new AbandonedHandlers(MOST);
    const served = Array.from({ length: 2 * MOST }, () => serve(stubborn.origin, { abandoned }));
    while (stubborn.started() < served.length) await turn();
    expect((await answer(stubborn.origin, { abandoned, path: "/quick" })).text).toBe("done");
    for (let call = 0; call < served.length; call++) stubborn.release(call);
    await Promise.all(served.map(({ outcome }) => outcome()));
    expect(abandoned.refusal).toBeUndefined();
  });
});

it("handlers that stop when their visitors leave are never refused", async () => {
  const abandoned = new AbandonedHandlers(MOST);
  const origin = fetchOrigin(
    ({ signal, url }) =>
      new Promise((resolve, reject) => {
        if (url.endsWith("/quick")) resolve(new Response("done"));
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  );
  for (let i = 0; i < 4 * MOST; i++) {
    serve(origin, { abandoned }).stream.cancel();
    await turn();
  }
  expect((await answer(origin, { abandoned, path: "/quick" })).text).toBe("done");
});

it("a proxy starts no more of them than a connection may have streams at work", async () => {
  let started = 0;
  const harness = new Harness({
    kind: "fetch",
    upgrade: undefined,
    fetch: () => {
      started++;
      return new Promise(() => {});
    },
  });
  let last = new FakeStream({ bodyless: true });
  for (let i = 0; i < MAX_ACTIVE_STREAMS + 10; i++) {
    last = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(last), 0);
    if (last.head === undefined) last.cancel();
  }
  expect(started).toBe(MAX_ACTIVE_STREAMS);
  expect(last.head?.status).toBe(503);
  await harness.proxy.close();
});
