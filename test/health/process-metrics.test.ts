/** What is told of the process itself. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Registry } from "../../src/health/metrics.ts";
import { addProcessMetrics } from "../../src/health/process-metrics.ts";
import { parseExposition } from "./exposition.ts";

afterEach(() => {
  vi.useRealTimers();
});

function create(): (name: string, labels?: string) => number | undefined {
  const registry = new Registry();
  addProcessMetrics(registry);
  return (name, labels = "") => parseExposition(registry.render()).get(name)?.samples.get(labels);
}

describe("the process's metrics", () => {
  it("are those of this process", () => {
    const read = create();
    expect(read("process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(read("process_resident_memory_bytes")).toBeGreaterThan(1e7);
    expect(read("nodejs_heap_size_used_bytes")).toBeLessThan(read("nodejs_heap_size_total_bytes") ?? 0);
    expect(read("process_start_time_seconds")).toBeLessThanOrEqual(Date.now() / 1000 + 1);
    expect(read("underpass_event_loop_busy_seconds_total")).toBeGreaterThan(0);
  });

  it.runIf(process.platform === "linux")("have what Linux tells", () => {
    const read = create();
    expect(read("process_open_fds")).toBeGreaterThan(3);
    expect(read("process_max_fds")).toBeGreaterThanOrEqual(read("process_open_fds") ?? 0);
    expect(read("process_virtual_memory_bytes")).toBeGreaterThan(read("process_resident_memory_bytes") ?? 0);
    expect(read("process_virtual_memory_max_bytes")).toBeGreaterThan(0);
    expect(read("process_network_receive_bytes_total")).toBeGreaterThanOrEqual(0);
  });

  it("show what holds the event loop up, since somebody asked last", async () => {
    const read = create();
    const worst = () => read("underpass_event_loop_delay_seconds", '{percentile="100"}');
    expect(worst()).toBeUndefined();
    await sleep(120);
    const until = performance.now() + 300;
    while (performance.now() < until);
    await sleep(120);
    expect(worst()).toBeGreaterThan(0.15);
  });

  it("stop watching it when nobody asks any more", () => {
    vi.useFakeTimers();
    const read = create();
    read("process_open_fds");
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(300_000);
    expect([vi.getTimerCount(), read("underpass_event_loop_delay_seconds", '{percentile="100"}')]).toEqual([
      0,
      undefined,
    ]);
    vi.clearAllTimers();
  });
});
