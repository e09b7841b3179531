/** Where a value stands inside a configuration: keys, and places in lists counted from 0. */
export type KeyPath = readonly (string | number)[];

/** `ingress[2].originRequest.connectTimeout`. */
export function formatKeyPath(path: KeyPath): string {
  return path.map((key, index) => (typeof key === "number" ? `[${key}]` : index === 0 ? key : `.${key}`)).join("");
}

/** Remembers where keys stand, and answers for those that don't with the nearest above them. */
export class KeyPlaces<T> {
  readonly #places = new Map<string, T>();

  /** The first one counts. */
  note(path: KeyPath, place: T): void {
    const key = path.join("\0");
    if (!this.#places.has(key)) this.#places.set(key, place);
  }

  get(path: KeyPath): T | undefined {
    return this.#places.get(path.join("\0"));
  }

  find(path: KeyPath): T | undefined {
    for (let length = path.length; length > 0; length--) {
      const found = this.get(path.slice(0, length));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
