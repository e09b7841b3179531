/**
 * Notices that this machine is in another network: a laptop that moved, a link that failed over, an address that was taken away.
 * TCP and UDP would tell only by what stays unanswered.
 */
import { networkInterfaces } from "node:os";

/** A look costs a fraction of a millisecond; nobody waits longer for a connection that was lost to notice it. */
const PERIOD_MS = 5_000;

export type Interfaces = ReturnType<typeof networkInterfaces>;

export interface NetworkChange {
  readonly appeared: readonly string[];
  readonly disappeared: readonly string[];
  /** All that there are now. */
  readonly present: ReadonlySet<string>;
}

/** The addresses by which another network can be reached: neither this machine's own, nor such as count on one link alone. */
export function outwardAddresses(interfaces: Interfaces): ReadonlySet<string> {
  const addresses = new Set<string>();
  for (const list of Object.values(interfaces)) {
    for (const { address, internal } of list ?? []) {
      if (!internal && !isLinkLocal(address)) addresses.add(address);
    }
  }
  return addresses;
}

function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/i.test(address) || address.startsWith("169.254.");
}

/** Undefined where nothing has changed. */
export function compareNetworks(before: ReadonlySet<string>, present: ReadonlySet<string>): NetworkChange | undefined {
  const appeared = [...present].filter((address) => !before.has(address));
  const disappeared = [...before].filter((address) => !present.has(address));
  return appeared.length === 0 && disappeared.length === 0 ? undefined : { appeared, disappeared, present };
}

/** A socket whose address has left the machine hears nothing any more. */
export function hasLeft({ disappeared }: NetworkChange): (localAddress: string) => boolean {
  return (localAddress) => disappeared.includes(localAddress);
}

/** Calls `onChange` after each change. Returns the function that ends it. */
export function watchNetwork(
  onChange: (change: NetworkChange) => void,
  read: () => Interfaces = networkInterfaces,
): () => void {
  let known = look(read);
  const timer = setInterval(() => {
    const present = look(read);
    if (known === undefined || present === undefined) {
      known ??= present;
      return;
    }
    const change = compareNetworks(known, present);
    known = present;
    if (change !== undefined) onChange(change);
  }, PERIOD_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Undefined where the system does not tell: some sandboxes forbid it. */
function look(read: () => Interfaces): ReadonlySet<string> | undefined {
  try {
    return outwardAddresses(read());
  } catch {
    return undefined;
  }
}
