/** What health checks have found wrong beyond the registration, for as long as it stands. */
import type { Verdict } from "./policy.ts";

/** What one check found. */
export interface Look {
  /** Of the public hostname by itself; undefined where it was not asked: what was found before stands. */
  readonly hostname: Verdict | undefined;
  readonly origins: Verdict;
  /** When the check began, as performance.now() has it. */
  readonly since: number;
}

export class Findings {
  /** No way leads to the connections. */
  #way: string | undefined;
  /** A way leads somewhere, where the answer is not what it should be. */
  #answer: string | undefined;
  #origins: string | undefined;
  #lostAt = Number.NEGATIVE_INFINITY;

  get problems(): readonly string[] {
    return [this.#way ?? this.#answer, this.#origins].filter((problem) => problem !== undefined);
  }

  checked({ hostname, origins, since }: Look): void {
    this.#origins = messageOf(origins);
    if (hostname === undefined) return;
    if (hostname.kind !== "failed") {
      this.#way = undefined;
      this.#answer = messageOf(hostname);
    } else if (since > this.#lostAt) {
      this.#way = hostname.message;
    }
  }

  /** Now the last connection is gone. That nothing came through it is not held against those that come after. */
  lost(): void {
    this.#way = undefined;
    this.#lostAt = performance.now();
  }

  /** The public hostname is another one. */
  moved(): void {
    this.#way = undefined;
    this.#answer = undefined;
  }
}

function messageOf(verdict: Verdict): string | undefined {
  return verdict.kind === "healthy" ? undefined : verdict.message;
}
