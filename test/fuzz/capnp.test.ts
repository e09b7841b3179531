import { describe, expect, it } from "vitest";
import { fuzzConnections, fuzzMessages, watched } from "./capnp-mutations.ts";

describe("20,000 mutations; 200,000 under `npm run soak`", () => {
  it("of messages: a value that can be written again, or a CapnpError", async () => {
    const { accepted, refused } = await watched(() => fuzzMessages(10_000, 1));
    expect(accepted).toBeGreaterThan(1000);
    expect(refused).toBeGreaterThan(1000);
  }, 60_000);

  it("of RPC sequences, in both roles: the connection stands, or ends in order", async () => {
    const { accepted, refused } = await watched(() => fuzzConnections(10_000, 2));
    expect(accepted).toBeGreaterThan(500);
    expect(refused).toBeGreaterThan(500);
  }, 60_000);
});
