/** `/diag/system`: the machine, in cloudflared's shape (operations § 9). Sizes in kB. */
import { readFile, statfs } from "node:fs/promises";
import os from "node:os";

interface Disk {
  readonly name: string;
  readonly sizeMaximum: number;
  readonly sizeCurrent: number;
}

/** More are not worth a look, and each costs a call. */
const MAX_DISKS = 32;
/** A mount whose server is gone never answers. */
const STATFS_MS = 1_000;
const KB = 1024;

/** The body of `/diag/system`: what can't be read is told under `errors`. Never rejects. */
export async function renderSystemInformation(version: string): Promise<string> {
  const errors: Record<string, { error: string; rawInfo: string }> = {};
  const attempt = async <T>(name: string, read: () => Promise<T>): Promise<Partial<T>> => {
    try {
      return await read();
    } catch (error) {
      errors[name] = { error: error instanceof Error ? error.message : String(error), rawInfo: "" };
      return {};
    }
  };
  const [memory, descriptors, disk] = await Promise.all([
    attempt("memoryInformationError", readMemory),
    attempt("fileDescriptorsInformationError", readDescriptors),
    attempt("diskVolumeInformationError", async () => ({ disk: await readDisks() })),
  ]);
  const info = {
    ...memory,
    ...descriptors,
    osSystem: os.type(),
    hostName: os.hostname(),
    osVersion: os.release(),
    osRelease: os.version(),
    architecture: os.machine(),
    cloudflaredVersion: version,
    goVersion: `node ${process.version}`,
    goArch: process.arch,
    ...disk,
  };
  return JSON.stringify({ info, errors });
}

async function readMemory(): Promise<{ memoryMaximum: number; memoryCurrent: number }> {
  const total = Math.round(os.totalmem() / KB);
  if (process.platform !== "linux")
    return { memoryMaximum: total, memoryCurrent: total - Math.round(os.freemem() / KB) };
  // What caches hold is free for whoever needs it.
  const available = /^MemAvailable: +(\d+) kB$/m.exec(await readFile("/proc/meminfo", "utf8"))?.[1];
  return {
    memoryMaximum: total,
    memoryCurrent: total - (available === undefined ? Math.round(os.freemem() / KB) : Number(available)),
  };
}

async function readDescriptors(): Promise<{ fileDescriptorMaximum?: number; fileDescriptorCurrent?: number }> {
  if (process.platform !== "linux") return {};
  const [current, , maximum] = (await readFile("/proc/sys/fs/file-nr", "utf8")).trim().split(/\s+/);
  const limit = Number(maximum);
  // "No limit" is 2^63 - 1 there, which is no number of JavaScript's.
  return {
    fileDescriptorMaximum: Number.isSafeInteger(limit) ? limit : Number.MAX_SAFE_INTEGER,
    fileDescriptorCurrent: Number(current),
  };
}

async function readDisks(): Promise<readonly Disk[]> {
  const mounts =
    process.platform === "linux" ? linuxMounts(await readFile("/proc/self/mounts", "utf8")) : [rootMount()];
  const disks = await Promise.all(mounts.slice(0, MAX_DISKS).map((mount) => measure(mount)));
  return disks.filter((disk) => disk !== undefined);
}

interface Mount {
  readonly device: string;
  readonly path: string;
}

function rootMount(): Mount {
  const root = process.platform === "win32" ? (process.env["SystemDrive"] ?? "C:") : "/";
  return { device: root, path: process.platform === "win32" ? `${root}\\` : root };
}

/** Devices and the root, each device once; what the kernel makes up has no size. */
export function linuxMounts(text: string): readonly Mount[] {
  const mounts = new Map<string, Mount>();
  for (const line of text.split("\n")) {
    const [device = "", path = ""] = line.split(" ").map((field) => field.replaceAll("\\040", " "));
    if ((device.startsWith("/dev/") || path === "/") && !mounts.has(device)) mounts.set(device, { device, path });
  }
  return [...mounts.values()];
}

async function measure({ device, path }: Mount): Promise<Disk | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), STATFS_MS);
  });
  try {
    const found = await Promise.race([statfs(path), late]);
    if (found === undefined) return undefined;
    const { bfree, blocks, bsize } = found;
    const kilobytes = (count: number): number => Math.round((count * bsize) / KB);
    return { name: device, sizeMaximum: kilobytes(blocks), sizeCurrent: kilobytes(blocks - bfree) };
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
