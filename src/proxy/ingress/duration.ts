/** Go's durations, as cloudflared's flags and configuration files write them: `300ms`, `-1.5h`, `2h45m`. */

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3, // U+00B5
  μs: 1e-3, // U+03BC
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go holds a duration in an int64 of nanoseconds; more than that is an error there and here. */
const MAX_MS = 2 ** 63 / 1e6;

/** Milliseconds of a Go duration, or undefined when `text` is none. A bare number other than 0 is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text);
  if (match?.[2] === undefined) return undefined;
  let milliseconds = 0;
  for (const [, amount, unit] of match[2].matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    milliseconds += Number(amount) * (UNIT_MS[unit ?? ""] ?? Number.NaN);
  }
  if (milliseconds >= MAX_MS) return undefined;
  if (milliseconds === 0) return 0;
  return match[1] === "-" ? -milliseconds : milliseconds;
}

/** As Go prints it: `30s`, `1m30s`, `24h0m0s`, `1.5s`, `500ms`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 0) return `-${formatDuration(-milliseconds)}`;
  if (milliseconds === 0) return "0s";
  if (milliseconds < 0.001) return `${round(milliseconds * 1e6)}ns`;
  if (milliseconds < 1) return `${round(milliseconds * 1e3)}µs`;
  if (milliseconds < 1000) return `${round(milliseconds)}ms`;
  const hours = Math.floor(milliseconds / 3_600_000);
  const minutes = Math.floor((milliseconds % 3_600_000) / 60_000);
  const seconds = `${round((milliseconds % 60_000) / 1000)}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

function round(value: number): number {
  return Number(value.toFixed(9));
}
