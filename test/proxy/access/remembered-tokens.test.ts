import { expect, it } from "vitest";
import { MAX_REMEMBERED } from "../../../src/proxy/access/limits.ts";
import { RememberedTokens } from "../../../src/proxy/access/remembered-tokens.ts";

it("remembers so many tokens and no more: the oldest go", () => {
  const tokens = new RememberedTokens();
  for (let at = 0; at < MAX_REMEMBERED; at++) tokens.add(`t${at}`, 2_000, 1_000);
  // Added anew, it is the youngest.
  tokens.add("t0", 2_000, 1_000);
  expect(tokens.has("t1", 1_000)).toBe(true);
  tokens.add("one more", 2_000, 1_000);
  expect(["t0", "t1", "t2", "one more"].map((token) => tokens.has(token, 1_000))).toEqual([true, false, true, true]);
});
