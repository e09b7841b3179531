import { createRequire } from "node:module";
import { expect, it } from "vitest";
import { createRouter } from "../../../src/proxy/ingress/router.ts";
import { rulesOf } from "./parse.ts";

const { cache } = createRequire(import.meta.url);
const loaded = (): boolean => Object.keys(cache).some((path) => path.includes("re2js"));
const service = "http_status:200";

it("loads re2js for the first path, and not before", () => {
  createRouter(rulesOf({ ingress: [{ hostname: "*.a.com", service }, { service }] })).match("x.a.com", "/%zz");
  expect(loaded()).toBe(false);
  rulesOf({ ingress: [{ path: "/x", service }, { service }] });
  expect(loaded()).toBe(true);
});
