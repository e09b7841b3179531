import { describe, expect, it } from "vitest";
import { fuzzConnections, fuzzMessages, watched } from "../fuzz/capnp-mutations.ts";

describe("Cap'n Proto, 100,000 mutations each", () => {
  it("of messages: a value that can be written again, or a CapnpError", async () => {
    const { accepted, refused } = await watched(() => fuzzMessages(100_000, 20_261_122));
    expect(accepted).toBeGreaterThan(10_000);
    expect(refused).toBeGreaterThan(10_000);
  });

  it("of RPC sequences, in both roles: the connection stands, or ends in order", async () => {
    const { accepted, refused } = await watched(() => fuzzConnections(100_000, 20_261_123));
    expect(accepted).toBeGreaterThan(5000);
    expect(refused).toBeGreaterThan(5000);
  });
});
