/** Byte channels in memory. */
import type { ByteChannel } from "../../src/types.ts";

/** One end whose other end is the test: `written` is what came out of it, `deliver` puts bytes in. */
export class ScriptedChannel implements ByteChannel {
  onData: (chunk: Uint8Array) => void = () => undefined;
  onEnd: (error?: Error) => void = () => undefined;
  readonly written: Buffer[] = [];
  ended = false;
  /** Thrown by the next writes. */
  writeError: Error | undefined;

  write(bytes: Uint8Array): void {
    if (this.writeError !== undefined) throw this.writeError;
    if (!this.ended) this.written.push(Buffer.from(bytes));
  }

  end(): void {
    this.ended = true;
  }

  /** The view is poisoned afterwards, as that of a reused buffer would be. */
  deliver(bytes: Uint8Array): void {
    const chunk = Buffer.from(bytes);
    this.onData(chunk);
    chunk.fill(0xee);
  }

  /** What was written since the last call, in hex. */
  take(): string[] {
    return this.written.splice(0).map((bytes) => bytes.toString("hex"));
  }
}

/** Two ends; bytes arrive in a later turn of the loop, in chunks of at most `chunkBytes`. */
export function channelPair(chunkBytes = Number.POSITIVE_INFINITY): [ByteChannel, ByteChannel] {
  const end = (): ByteChannel & { peer?: ByteChannel; ended: boolean } => ({
    ended: false,
    onData: () => undefined,
    onEnd: () => undefined,
    write(bytes) {
      if (this.ended) return;
      const copy = Buffer.from(bytes);
      setImmediate(() => {
        for (let at = 0; at < copy.length; at += chunkBytes) this.peer?.onData(copy.subarray(at, at + chunkBytes));
      });
    },
    end() {
      if (this.ended) return;
      this.ended = true;
      setImmediate(() => this.peer?.onEnd());
    },
  });
  const [a, b] = [end(), end()];
  a.peer = b;
  b.peer = a;
  return [a, b];
}

/** All promises that can settle without new input have settled. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
