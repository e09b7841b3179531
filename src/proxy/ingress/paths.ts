/** Path patterns in RE2 syntax (ingress § 3.3), by re2js: linear in the path's length, whatever a visitor sends. */
import { createRequire } from "node:module";
import type { RE2Set } from "re2js";

/**
 * What the automata of one rule set may hold in all, in bytes: visitors' paths decide how many states there are. A full automaton
 * begins anew.
 */
const ALL_STATES_BYTES = 64 * 1024 * 1024;
const MOST_STATES_BYTES = 8 * 1024 * 1024;
const LEAST_STATES_BYTES = 128 * 1024;

let loaded: typeof import("re2js") | undefined;

/** Only tunnels with a path rule pay for loading it. By `require`, because rules are swapped without a pause. */
function re2js(): typeof import("re2js") {
  loaded ??= createRequire(import.meta.url)("re2js") as typeof import("re2js");
  return loaded;
}

/** Why `pattern` can't be used, in re2's words; undefined when it can. */
export function patternProblem(pattern: string): string | undefined {
  try {
    compile([pattern], LEAST_STATES_BYTES);
    return undefined;
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).replace(/^error parsing regexp: /, "");
  }
}

export interface PathPattern {
  /** The rule's. */
  readonly index: number;
  readonly pattern: string;
}

/** The patterns of one host, matched together in one pass. */
export class PathSet {
  readonly #sets: readonly RE2Set[];
  readonly #indices: readonly (readonly number[])[];

  /**
   * Throws on a pattern that `patternProblem` refuses.
   * @param patterns with rising indices
   * @param sets how many sets there are
   */
  constructor(patterns: readonly PathPattern[], sets: number) {
    const memory = Math.min(MOST_STATES_BYTES, Math.max(LEAST_STATES_BYTES, Math.floor(ALL_STATES_BYTES / sets)));
    const parts = split(patterns, memory);
    this.#sets = parts.map(({ set }) => set);
    this.#indices = parts.map(({ indices }) => indices);
  }

  /** The lowest index of those that are found in `path`. */
  first(path: string): number | undefined {
    for (let part = 0; part < this.#sets.length; part++) {
      const [first] = this.#sets[part]?.match(path) ?? [];
      if (first !== undefined) return this.#indices[part]?.[first];
    }
    return undefined;
  }
}

interface Part {
  readonly set: RE2Set;
  readonly indices: readonly number[];
}

/** Patterns that are too large together stay fast in halves. */
function split(patterns: readonly PathPattern[], memory: number): readonly Part[] {
  try {
    return [
      {
        set: compile(
          patterns.map(({ pattern }) => pattern),
          memory,
        ),
        indices: patterns.map(({ index }) => index),
      },
    ];
  } catch (error) {
    if (patterns.length === 1) throw error;
    const half = Math.ceil(patterns.length / 2);
    return [...split(patterns.slice(0, half), memory), ...split(patterns.slice(half), memory)];
  }
}

function compile(patterns: readonly string[], memory: number): RE2Set {
  const { RE2Set: Set } = re2js();
  const set = new Set(Set.UNANCHORED, 0, memory);
  for (const pattern of patterns) set.add(pattern);
  set.compile();
  return set;
}

/**
 * The path that patterns see: without query, percent-decoded, not normalised. Where a `%` begins no escape it stays, and bytes that are
 * no UTF-8 become U+FFFD, so that every request has a rule.
 * @param target path and query as the edge gave them: a byte string
 */
export function decodedPath(target: string): string {
  const query = target.indexOf("?");
  const path = query === -1 ? target : target.slice(0, query);
  if (!/[%\x80-\xff]/.test(path)) return path;
  const bytes = path.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}
