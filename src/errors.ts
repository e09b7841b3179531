/**
 * The root of every error that underpass throws. `code` is stable and listed in docs/errors.md;
 * `message` says what was wrong and what would be right, and never holds a secret.
 */
export class UnderpassError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}
