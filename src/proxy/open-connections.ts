/** Counts sockets, so that closing can wait until none is left. */
export class OpenConnections {
  #count = 0;
  #waiting: (() => void)[] = [];

  opened(): void {
    this.#count++;
  }

  closed(): void {
    this.#count--;
    if (this.#count > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async none(): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}
