import { describe, expect, it } from "vitest";
import { SharedTask } from "../../src/connector/shared-task.ts";

interface Run {
  readonly signal: AbortSignal;
  readonly resolve: (value: string) => void;
  readonly reject: (error: Error) => void;
}

function shared() {
  const runs: Run[] = [];
  const task = new SharedTask<string>(
    (signal) => new Promise((resolve, reject) => runs.push({ signal, resolve, reject })),
  );
  return { task, runs };
}

const abort = () => new AbortController();

describe("a task that several wait for", () => {
  it("runs once for all, and anew for who comes later", async () => {
    const { task, runs } = shared();
    const both = Promise.all([task.join(abort().signal), task.join(abort().signal)]);
    runs[0]?.resolve("first");
    expect(await both).toEqual(["first", "first"]);
    const later = task.join(abort().signal);
    runs[1]?.resolve("second");
    expect(await later).toBe("second");
    expect(runs).toHaveLength(2);
  });

  it("fails for all of them, and is tried anew", async () => {
    const { task, runs } = shared();
    const both = Promise.allSettled([task.join(abort().signal), task.join(abort().signal)]);
    runs[0]?.reject(new Error("no"));
    expect((await both).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    const later = task.join(abort().signal);
    runs[1]?.resolve("second");
    expect(await later).toBe("second");
  });

  it("goes on when the one who started it gives up", async () => {
    const { task, runs } = shared();
    const first = abort();
    const gaveUp = task.join(first.signal);
    const stays = task.join(abort().signal);
    first.abort(new Error("gone"));
    await expect(gaveUp).rejects.toThrow("gone");
    expect(runs[0]?.signal.aborted).toBe(false);
    runs[0]?.resolve("done");
    expect(await stays).toBe("done");
  });

  it("is given up with the last of them; who comes then starts it anew", async () => {
    const { task, runs } = shared();
    const [first, second] = [abort(), abort()];
    const both = Promise.allSettled([task.join(first.signal), task.join(second.signal)]);
    first.abort();
    second.abort();
    await both;
    expect(runs[0]?.signal.aborted).toBe(true);
    const third = task.join(abort().signal);
    // The first one's end is nobody's business any more.
    runs[0]?.reject(new Error("aborted"));
    runs[1]?.resolve("anew");
    expect(await third).toBe("anew");
  });

  it("is not started for one who has given up already", async () => {
    const { task, runs } = shared();
    const gone = abort();
    gone.abort(new Error("gone"));
    await expect(task.join(gone.signal)).rejects.toThrow("gone");
    expect(runs).toEqual([]);
  });
});
