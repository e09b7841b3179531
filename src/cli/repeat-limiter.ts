/**
 * Keeps lines that say the same again and again from burying the others: of each, so many are written within a minute, and then one
 * that tells how many more there were. Sans I/O; times in milliseconds of one clock.
 */

export interface LeftOut<Level> {
  readonly level: Level;
  readonly message: string;
  /** What tells it from others with this message, such as the error. */
  readonly detail: string;
  readonly count: number;
}

export interface RepeatLimits {
  readonly windowMs: number;
  /** Of lines that are alike in all. */
  readonly alike: number;
  /** Of lines with the same message; whoever makes errors up from outside can't get more. */
  readonly ofOneMessage: number;
  /** Lines that are told apart at a time. */
  readonly kinds: number;
}

export const REPEAT_LIMITS: RepeatLimits = { windowMs: 60_000, alike: 20, ofOneMessage: 200, kinds: 1_000 };

interface Kind<Level> {
  readonly level: Level;
  readonly message: string;
  readonly detail: string;
  readonly until: number;
  written: number;
  leftOut: number;
}

export class RepeatLimiter<Level extends string> {
  readonly #limits: RepeatLimits;
  /** In the order in which their windows end. */
  readonly #kinds = new Map<string, Kind<Level>>();
  /** Of them, those of which lines were left out. */
  #withLeftOut = 0;

  constructor(limits: RepeatLimits = REPEAT_LIMITS) {
    this.#limits = limits;
  }

  /** Whether to write the line; else it is counted. What is `due` at that time has been taken. */
  admits(level: Level, message: string, detail: string, now: number): boolean {
    const { alike, kinds, ofOneMessage } = this.#limits;
    const all = this.#kind(level, message, undefined, now);
    const tellsApart = this.#kinds.size < kinds;
    const kind = tellsApart ? this.#kind(level, message, detail, now) : all;
    if (kind.written >= (tellsApart ? alike : ofOneMessage) || all.written >= ofOneMessage) {
      if (kind.leftOut++ === 0) this.#withLeftOut++;
      return false;
    }
    kind.written++;
    if (kind !== all) all.written++;
    return true;
  }

  /** When `due` has something to tell, if nothing more comes. */
  get deadline(): number | undefined {
    if (this.#withLeftOut === 0) return undefined;
    for (const { leftOut, until } of this.#kinds.values()) if (leftOut > 0) return until;
    return undefined;
  }

  /** What was left out in the minutes that are over. */
  due(now: number): readonly LeftOut<Level>[] {
    const due: LeftOut<Level>[] = [];
    for (const [key, { detail, leftOut, level, message, until }] of this.#kinds) {
      if (until > now) break;
      this.#kinds.delete(key);
      if (leftOut === 0) continue;
      this.#withLeftOut--;
      due.push({ level, message, detail, count: leftOut });
    }
    return due;
  }

  #kind(level: Level, message: string, detail: string | undefined, now: number): Kind<Level> {
    const key = detail === undefined ? `${level} ${message}` : `${level} ${message}\n${detail}`;
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    const until = now + this.#limits.windowMs;
    const kind: Kind<Level> = { level, message, detail: detail ?? "", until, written: 0, leftOut: 0 };
    this.#kinds.set(key, kind);
    return kind;
  }
}
