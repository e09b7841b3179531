import { describe, expect, it } from "vitest";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { End } from "./link.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

describe("streams that are held", () => {
  it("take less than 1 KiB each: 5,000 long polls, their requests read", () => {
    const count = 5_000;
    const server = new End({ role: "server", local: { initialMaxStreamsBidi: count } });
    const request = Buffer.alloc(200, "x");
    collect();
    const before = process.memoryUsage();
    for (let i = 0; i < count; i++) server.streams.onStream(4 * i, 0, request, true);
    for (const sink of server.accepted) sink.chunks.length = 0;
    collect();
    const after = process.memoryUsage();
    expect(server.streams.openStreams).toBe(count);
    const each = (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / count;
    expect(each).toBeLessThan(1024);
  });
});
