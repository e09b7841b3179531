/**
 * Whether a process holds the more the longer it runs, from samples with noise in them. A fit by least squares follows its outliers,
 * and memory is full of them; so each window counts by its median, and the slope is the median of the slopes between all windows
 * (Theil and Sen: up to 29 % of them may be anything).
 */

export interface Sample {
  readonly atMs: number;
  readonly rss: number;
  /** Best after a forced collection: before it, it tells more of the collector than of what is held. */
  readonly heapUsed: number;
  readonly fds: number;
}

export type Figure = Exclude<keyof Sample, "atMs">;

/** A window's place in time, and the median of each of its figures. */
export type Window = Sample;

const HOUR_MS = 3_600_000;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) throw new RangeError("a median of nothing");
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** `count` windows of the same length in time, those without a sample left out. */
export function windows(samples: readonly Sample[], count: number): readonly Window[] {
  const first = samples[0]?.atMs ?? 0;
  const last = samples.at(-1)?.atMs ?? 0;
  const length = Math.max(last - first, 1) / count;
  const groups = Array.from({ length: count }, (): Sample[] => []);
  for (const sample of samples) groups[Math.min(count - 1, Math.floor((sample.atMs - first) / length))]?.push(sample);
  return groups.filter((group) => group.length > 0).map(windowOf);
}

function windowOf(samples: readonly Sample[]): Window {
  const of = (figure: keyof Sample): number => median(samples.map((sample) => sample[figure]));
  return { atMs: of("atMs"), rss: of("rss"), heapUsed: of("heapUsed"), fds: of("fds") };
}

/** By how much the figure grows in an hour. */
export function slopePerHour(samples: readonly Sample[], figure: Figure): number {
  const slopes: number[] = [];
  for (const [index, from] of samples.entries()) {
    for (const to of samples.slice(index + 1)) {
      if (to.atMs > from.atMs) slopes.push(((to[figure] - from[figure]) / (to.atMs - from.atMs)) * HOUR_MS);
    }
  }
  if (slopes.length === 0) throw new RangeError("a slope needs samples of two moments");
  return median(slopes);
}

export interface Steadiness {
  readonly windows: readonly Window[];
  /** From the first window to the last, by the slope. */
  readonly growth: Readonly<Record<Figure, number>>;
  readonly perHour: Readonly<Record<Figure, number>>;
}

/** Of the samples after `warmUpMs`: until then caches fill, and code is compiled. */
export function steadinessOf(samples: readonly Sample[], options: { warmUpMs: number; windows?: number }): Steadiness {
  const begun = samples[0]?.atMs ?? 0;
  const settled = samples.filter(({ atMs }) => atMs - begun >= options.warmUpMs);
  const parts = windows(settled, options.windows ?? 12);
  const perHour = {
    rss: slopePerHour(parts, "rss"),
    heapUsed: slopePerHour(parts, "heapUsed"),
    fds: slopePerHour(parts, "fds"),
  };
  const hours = ((parts.at(-1)?.atMs ?? 0) - (parts[0]?.atMs ?? 0)) / HOUR_MS;
  const growth = { rss: perHour.rss * hours, heapUsed: perHour.heapUsed * hours, fds: perHour.fds * hours };
  return { windows: parts, growth, perHour };
}

const MIB = 1_048_576;

/** For people: a line a window, and what an hour would add. */
export function describeSteadiness({ windows: parts, growth, perHour }: Steadiness): string {
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(2)} MiB`;
  const lines = parts.map(
    ({ atMs, rss, heapUsed, fds }) =>
      `${(atMs / 1000).toFixed(0)} s: rss ${mib(rss)}, heap ${mib(heapUsed)}, descriptors ${fds}`,
  );
  const line = (name: string, of: Readonly<Record<Figure, number>>): string =>
    `${name}: rss ${mib(of.rss)}, heap ${mib(of.heapUsed)}, descriptors ${of.fds.toFixed(1)}`;
  return [...lines, line("growth while measured", growth), line("growth an hour", perHour)].join("\n");
}
