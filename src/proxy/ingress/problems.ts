/** What is wrong with ingress rules, and where. */
import { describeValue } from "./redact.ts";

export type ConfigPath = readonly (string | number)[];

/** One thing that is wrong, or only odd. */
export interface IngressProblem {
  /** Such as `["ingress", 2, "originRequest", "connectTimeout"]`; rules are counted from 0 here. */
  readonly path: ConfigPath;
  /** What was found and what would be right. Names the rule, counted from 1, and its hostname. Holds no secret. */
  readonly text: string;
  /** A warning about a key that nobody reads: an error to whoever is strict. */
  readonly unknownKey?: true;
}

export interface Findings {
  readonly problems: IngressProblem[];
  readonly warnings: IngressProblem[];
}

/** One place in the source: whoever reads it says here what is wrong with it. */
export class Scope {
  readonly #findings: Findings;
  readonly #path: ConfigPath;
  readonly #label: string;

  constructor(findings: Findings, path: ConfigPath = [], label = "") {
    this.#findings = findings;
    this.#path = path;
    this.#label = label;
  }

  at(key: string | number): Scope {
    return new Scope(this.#findings, [...this.#path, key], this.#label);
  }

  /** `label` stands before each text: which rule it is about. */
  labelled(label: string): Scope {
    return new Scope(this.#findings, this.#path, label);
  }

  problem(text: string): void {
    this.#findings.problems.push({ path: this.#path, text: this.#label + text });
  }

  warning(text: string): void {
    this.#findings.warnings.push({ path: this.#path, text: this.#label + text });
  }

  unknownKey(text: string): void {
    this.#findings.warnings.push({ path: this.#path, text: this.#label + text, unknownKey: true });
  }

  /** The usual problem: a value that is not what its key takes. */
  wrong(found: unknown, expected: string): void {
    this.problem(`found ${describeValue(found)}; ${expected} would be right`);
  }
}
