/** Small operations, measured within this process. */

const ROUNDS = 5;

/** Median over the rounds of the CPU time of one operation, in microseconds. */
export function measure(operation: (i: number) => unknown, operations = 5_000): number {
  const times: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage().user;
    for (let i = 0; i < operations; i++) operation(i);
    // The first round warms up.
    if (round > 0) times.push((process.cpuUsage().user - before) / operations);
  }
  return times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? Number.NaN;
}
