/**
 * Signals that come twice and are meant once. npm, pnpm and yarn pass on a Ctrl-C that the terminal has delivered to all of its
 * processes already; systemd signals a package manager and its child, and the former passes it on.
 */

const ECHO_MS = 500;

/** Calls `listener` for each signal but an echo: the same one again, too soon to be a second wish of somebody's. */
export function withoutEchoes<S extends string>(
  listener: (signal: S) => void,
  now: () => number = () => performance.now(),
): (signal: S) => void {
  let last: { readonly signal: S; readonly at: number } | undefined;
  return (signal) => {
    const at = now();
    if (last?.signal === signal && at - last.at < ECHO_MS) return;
    last = { signal, at };
    listener(signal);
  };
}
