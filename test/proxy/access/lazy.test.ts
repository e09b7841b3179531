import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { fieldsOf, FakeStream, httpRequest } from "../fake-stream.ts";
import { Harness } from "../harness.ts";
import { POLICY } from "./team.ts";

const { cache } = createRequire(import.meta.url);
const loaded = (): boolean => Object.keys(cache).some((path) => path.includes("undici"));

it("loads what fetches keys for the first token that could need one, and not before", async () => {
  const harness = new Harness({ kind: "status", status: 204 }, { access: POLICY });
  const refused = [{}, { "cf-access-jwt-assertion": "x" }];
  for (const [at, headers] of refused.entries()) {
    harness.proxy.handle(httpRequest(new FakeStream({ bodyless: true }), { headers: fieldsOf(headers) }), 0);
    expect((await harness.outcome(at + 1)).class).toBe("access-denied");
  }
  expect(loaded()).toBe(false);
  await harness.proxy.close();
});

it("imports jose only where it is needed, when it is", () => {
  const src = resolve(import.meta.dirname, "../../../src");
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const sources = files.map((name) => readFileSync(join(src, name), "utf8"));
  expect(sources.filter((text) => text.includes('import("jose")')).length).toBeGreaterThan(0);
  expect(sources.filter((text) => /^import .*from "jose"/m.test(text))).toEqual([]);
});
