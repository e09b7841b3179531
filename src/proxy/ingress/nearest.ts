/**
 * The known name nearest to `name` by edit distance, or undefined when none is near enough to be a slip of the keys: within
 * `furthest`, by default 2 or a third of its length.
 */
export function nearest(
  name: string,
  known: Iterable<string>,
  furthest: number = Math.max(2, Math.floor(name.length / 3)),
): string | undefined {
  const wanted = name.toLowerCase().replaceAll("_", "-");
  let best: string | undefined;
  let bestDistance = furthest + 1;
  for (const candidate of known) {
    const other = candidate.toLowerCase().replaceAll("_", "-");
    if (Math.abs(other.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, other);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(replace, at(last, j) + 1, at(row, j - 1) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(beforeLast, j - 2) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
