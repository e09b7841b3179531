/** What Prometheus clients tell about the process itself, under their usual names. */
import { readdirSync } from "node:fs";
import type { Registry } from "./metrics.ts";

export function addProcessMetrics(registry: Registry): void {
  const cpu = registry.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
  const resident = registry.gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
  const heap = registry.gauge("nodejs_heap_size_used_bytes", "Process heap size used from Node.js in bytes.");
  const external = registry.gauge("nodejs_external_memory_bytes", "Node.js external memory size in bytes.");
  const started = registry.gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
  );
  started.set(Math.round(Date.now() / 1000 - process.uptime()));
  const descriptors = registry.gauge("process_open_fds", "Number of open file descriptors.", true);
  registry.onCollect(() => {
    const usage = process.cpuUsage();
    const memory = process.memoryUsage();
    cpu.set((usage.user + usage.system) / 1e6);
    resident.set(memory.rss);
    heap.set(memory.heapUsed);
    external.set(memory.external);
    const open = countDescriptors();
    if (open !== undefined) descriptors.set(open);
  });
}

/** Linux tells; elsewhere, and where reading it is not allowed, the metric is left out. */
function countDescriptors(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}
