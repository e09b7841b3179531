/**
 * `/diag/process`: what this process holds, in the place of cloudflared's Go profiles. Numbers alone: a heap snapshot of Node.js
 * holds every text in memory, tokens included, and its report the environment.
 */
import { performance } from "node:perf_hooks";
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8";

export function renderProcessState(): string {
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  const { active, idle, utilization } = performance.eventLoopUtilization();
  return JSON.stringify({
    pid: process.pid,
    node: process.version,
    platform: process.platform,
    arch: process.arch,
    uptimeSeconds: Math.round(process.uptime()),
    memory: process.memoryUsage(),
    heap: getHeapStatistics(),
    heapSpaces: getHeapSpaceStatistics(),
    usage: process.resourceUsage(),
    eventLoop: { activeMs: Math.round(active), idleMs: Math.round(idle), utilization },
    activeResources: resources,
  });
}
