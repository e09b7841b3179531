/** What Linux tells about this process below /proc/self. */
import { readdirSync, readFileSync } from "node:fs";

export interface LinuxProcess {
  readonly openDescriptors: number | undefined;
  readonly maxDescriptors: number | undefined;
  readonly virtualBytes: number | undefined;
  readonly maxVirtualBytes: number | undefined;
  readonly receivedBytes: number | undefined;
  readonly sentBytes: number | undefined;
}

/** "unlimited", as Prometheus clients have it. */
const UNLIMITED = 2 ** 64;

export function readLinuxProcess(): LinuxProcess {
  const limits = read("limits");
  const traffic = readIpTraffic(read("net/netstat"));
  return {
    openDescriptors: attempt(() => readdirSync("/proc/self/fd").length),
    maxDescriptors: readLimit(limits, "Max open files"),
    virtualBytes: numberIn(/^VmSize:\s+(\d+) kB$/m, read("status"), 1024),
    maxVirtualBytes: readLimit(limits, "Max address space"),
    receivedBytes: traffic?.get("InOctets"),
    sentBytes: traffic?.get("OutOctets"),
  };
}

function read(name: string): string {
  return attempt(() => readFileSync(`/proc/self/${name}`, "latin1")) ?? "";
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

function numberIn(pattern: RegExp, text: string, factor: number): number | undefined {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? undefined : Number(found) * factor;
}

/** The soft limit. */
function readLimit(limits: string, name: string): number | undefined {
  const found = new RegExp(`^${name}\\s+(\\d+|unlimited)\\s`, "m").exec(limits)?.[1];
  return found === "unlimited" ? UNLIMITED : found === undefined ? undefined : Number(found);
}

/** Two lines: names, and the numbers below them. */
function readIpTraffic(netstat: string): ReadonlyMap<string, number> | undefined {
  const [names, numbers] = netstat.split("\n").filter((line) => line.startsWith("IpExt:"));
  if (names === undefined || numbers === undefined) return undefined;
  const values = numbers.split(" ");
  return new Map(names.split(" ").map((name, index) => [name, Number(values[index])]));
}
