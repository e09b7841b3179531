import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";

it("docs/logs.md lists every message and describes every field: node scripts/log-messages.mjs writes it anew after a change", () => {
  const { stderr } = spawnSync(process.execPath, ["scripts/log-messages.mjs", "--check"], { encoding: "utf8" });
  expect(stderr).toBe("");
});
