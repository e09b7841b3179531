/** What Prometheus clients tell about the process itself, under their usual names, and how busy its event loop is. */
import { type IntervalHistogram, monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Registry } from "./metrics.ts";
import { readLinuxProcess } from "./linux-process.ts";

/** A look at the event loop each so many milliseconds: often enough to see what holds it up, too seldom to cost. */
const RESOLUTION_MS = 50;

export function addProcessMetrics(registry: Registry): void {
  const cpu = registry.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
  const resident = registry.gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
  const heap = registry.gauge("nodejs_heap_size_used_bytes", "Process heap size used from Node.js in bytes.");
  const heapTotal = registry.gauge("nodejs_heap_size_total_bytes", "Process heap size from Node.js in bytes.");
  const external = registry.gauge("nodejs_external_memory_bytes", "Node.js external memory size in bytes.");
  const started = registry.gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
  );
  started.set(Math.round(Date.now() / 1000 - process.uptime()));
  registry.onCollect(() => {
    const usage = process.cpuUsage();
    const memory = process.memoryUsage();
    cpu.set((usage.user + usage.system) / 1e6);
    resident.set(memory.rss);
    heap.set(memory.heapUsed);
    heapTotal.set(memory.heapTotal);
    external.set(memory.external);
  });
  addLinuxMetrics(registry);
  addEventLoopMetrics(registry);
}

/** Linux tells; elsewhere, and where reading it is not allowed, these are left out. */
function addLinuxMetrics(registry: Registry): void {
  const one = (name: string, help: string) => {
    const metric = registry.gauge(name, help);
    metric.clear();
    return metric;
  };
  const openDescriptors = one("process_open_fds", "Number of open file descriptors.");
  const maxDescriptors = one("process_max_fds", "Maximum number of open file descriptors.");
  const virtual = one("process_virtual_memory_bytes", "Virtual memory size in bytes.");
  const maxVirtual = one("process_virtual_memory_max_bytes", "Maximum amount of virtual memory in bytes.");
  const received = registry.counter(
    "process_network_receive_bytes_total",
    "Bytes received by the network namespace of the process.",
  );
  const sent = registry.counter(
    "process_network_transmit_bytes_total",
    "Bytes sent by the network namespace of the process.",
  );
  received.clear();
  sent.clear();
  registry.onCollect(() => {
    const found = readLinuxProcess();
    if (found.openDescriptors !== undefined) openDescriptors.set(found.openDescriptors);
    if (found.maxDescriptors !== undefined) maxDescriptors.set(found.maxDescriptors);
    if (found.virtualBytes !== undefined) virtual.set(found.virtualBytes);
    if (found.maxVirtualBytes !== undefined) maxVirtual.set(found.maxVirtualBytes);
    if (found.receivedBytes !== undefined) received.set(found.receivedBytes);
    if (found.sentBytes !== undefined) sent.set(found.sentBytes);
  });
}

const PERCENTILES = [50, 99, 100];

/** Who asks no more often than this does not ask any more. */
const UNWATCHED_MS = 300_000;

/** The delay is watched from the first time on that somebody asks, for as long as somebody does. */
function addEventLoopMetrics(registry: Registry): void {
  const delay = registry.gauge(
    "underpass_event_loop_delay_seconds",
    "How late the event loop was since it was asked last; 100 is the worst.",
    ["percentile"],
  );
  const busy = registry.counter("underpass_event_loop_busy_seconds_total", "Time in which the event loop had work.");
  let histogram: IntervalHistogram | undefined;
  let unwatched: NodeJS.Timeout | undefined;
  registry.onCollect(() => {
    busy.set(performance.eventLoopUtilization().active / 1000);
    if (histogram === undefined) {
      histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      histogram.enable();
    }
    clearTimeout(unwatched);
    unwatched = setTimeout(() => {
      histogram?.disable();
      histogram = undefined;
      delay.clear();
    }, UNWATCHED_MS).unref();
    // Before the first look there is no number.
    if (histogram.count === 0) return;
    for (const percentile of PERCENTILES) {
      const nanoseconds = histogram.percentile(percentile);
      // What it measures is the time between two looks.
      delay.set(Math.max(0, nanoseconds - RESOLUTION_MS * 1e6) / 1e9, { percentile: `${percentile}` });
    }
    histogram.reset();
  });
}
