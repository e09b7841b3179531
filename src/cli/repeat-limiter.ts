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
  /** Messages that are told apart at a time; and so many times, all in all, what has the same one. */
  readonly kinds: number;
}

export const REPEAT_LIMITS: RepeatLimits = { windowMs: 60_000, alike: 20, ofOneMessage: 200, kinds: 1_000 };

/** Of a level, all messages beyond those that are told apart. */
const FURTHER = "further messages";

interface Kind<Level> {
  readonly level: Level;
  readonly message: string;
  /** Undefined where it is the message's own. */
  readonly detail: string | undefined;
  readonly until: number;
  written: number;
  leftOut: number;
}

export class RepeatLimiter<Level extends string> {
  readonly #limits: RepeatLimits;
  /** In the order in which their windows end. */
  readonly #kinds = new Map<string, Kind<Level>>();
  /** Of them, those that stand for a message, told apart. */
  #messages = 0;
  /** Of them, those of which lines were left out. */
  #withLeftOut = 0;

  constructor(limits: RepeatLimits = REPEAT_LIMITS) {
    this.#limits = limits;
  }

  /** Whether to write the line; else it is counted. What is `due` at that time has been taken. */
  admits(level: Level, message: string, detail: string, now: number): boolean {
    const { alike, ofOneMessage } = this.#limits;
    const all = this.#ofMessage(level, message, now);
    const kind = this.#ofDetail(all, detail, now);
    if (kind.written >= (kind === all ? ofOneMessage : alike) || all.written >= ofOneMessage) {
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
      if (detail === undefined && key !== level) this.#messages--;
      if (leftOut === 0) continue;
      this.#withLeftOut--;
      due.push({ level, message, detail: detail ?? "", count: leftOut });
    }
    return due;
  }

  #ofMessage(level: Level, message: string, now: number): Kind<Level> {
    const key = `${level} ${message}`;
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    if (this.#messages < this.#limits.kinds) {
      this.#messages++;
      return this.#add(key, { level, message, detail: undefined }, now);
    }
    return this.#kinds.get(level) ?? this.#add(level, { level, message: FURTHER, detail: undefined }, now);
  }

  /** The message's own where its details are not told apart: no more of them, or nothing of it is written any more. */
  #ofDetail(all: Kind<Level>, detail: string, now: number): Kind<Level> {
    const { level, message } = all;
    const key = `${level} ${message}\n${detail}`;
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    const { kinds, ofOneMessage } = this.#limits;
    const isFull = this.#kinds.size - this.#messages >= kinds || all.written >= ofOneMessage;
    if (isFull || message === FURTHER) return all;
    return this.#add(key, { level, message, detail }, now);
  }

  #add(key: string, what: Pick<Kind<Level>, "level" | "message" | "detail">, now: number): Kind<Level> {
    const kind: Kind<Level> = { ...what, until: now + this.#limits.windowMs, written: 0, leftOut: 0 };
    this.#kinds.set(key, kind);
    return kind;
  }
}
