/**
 * Which descriptors whoever started this process has opened for it. Node.js has some of its own from the start, at the numbers that are
 * free then: reading one would take from the event loop what it lives on. Linux tells which; elsewhere it is what is open.
 */
import { fstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Before anything is opened here; undefined where the system does not list them. */
const openAtStart = listDescriptors();

export function isInherited(descriptor: number): boolean {
  if (!isOpen(descriptor) || openAtStart?.has(descriptor) === false) return false;
  const target = targetOf(descriptor);
  // epoll, eventfd, io_uring: none of them holds text.
  if (target?.startsWith("anon_inode:") === true) return false;
  return target?.startsWith("pipe:") !== true || !isWrittenHere(target);
}

/** A pipe whose other end is here too: it has no other writer, or would never end. */
function isWrittenHere(pipe: string): boolean {
  return [...(listDescriptors() ?? [])].some((other) => targetOf(other) === pipe && isWritable(other));
}

function isWritable(descriptor: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"))?.[1] ?? "";
    // The access mode, O_RDONLY is 0 (fcntl(2)).
    return (Number.parseInt(flags, 8) & 3) !== 0;
  } catch {
    return false;
  }
}

function targetOf(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return undefined;
  }
}

function listDescriptors(): ReadonlySet<number> | undefined {
  try {
    // The list has the descriptor that it was read by, too, which is closed by now.
    return new Set(readdirSync("/proc/self/fd").map(Number).filter(isOpen));
  } catch {
    return undefined;
  }
}

function isOpen(descriptor: number): boolean {
  try {
    fstatSync(descriptor);
    return true;
  } catch {
    return false;
  }
}
