import { describe, expect, it } from "vitest";
import { AccessKeysError } from "../../../src/proxy/access/errors.ts";
import type { Keys } from "../../../src/proxy/access/fetch-keys.ts";
import { KeySet } from "../../../src/proxy/access/key-set.ts";
import {
  COOL_DOWN_MS,
  MAX_KEY_AGE_MS,
  MAX_WAITING,
  REFRESH_AFTER_MS,
  RETRY_AFTER_MS,
} from "../../../src/proxy/access/limits.ts";

const { publicKey: KEY } = await crypto.subtle.generateKey(
  { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  false,
  ["sign", "verify"],
);

/** A key set over a service whose answers the test gives, in virtual time. */
class Rig {
  now = 1_000_000;
  readonly logs: string[] = [];
  readonly #pending: { resolve: (keys: Keys) => void; reject: (error: unknown) => void; signal: AbortSignal }[] = [];
  /** Fetches so far. */
  fetches = 0;
  readonly keys: KeySet;

  constructor(timeoutMs = 60_000) {
    this.keys = new KeySet({
      name: "keys",
      now: () => this.now,
      timeoutMs,
      logger: {
        debug() {},
        info() {},
        warn: (message) => this.logs.push(message),
        error: (message) => this.logs.push(message),
      },
      fetch: (signal) => {
        this.fetches++;
        return new Promise((resolve, reject) => {
          this.#pending.push({ resolve, reject, signal });
          signal.addEventListener("abort", () => reject(signal.reason as Error));
        });
      },
    });
  }

  #next() {
    const next = this.#pending.shift();
    if (next === undefined) throw new Error("nothing was asked for");
    return next;
  }

  get signal(): AbortSignal | undefined {
    return this.#pending[0]?.signal;
  }

  /** The service answers the fetch under way; resolves when its users know. */
  async answer(...kids: string[]): Promise<void> {
    this.#next().resolve(new Map(kids.map((kid) => [kid, KEY])));
    await settled();
  }

  async fail(message = "the service is down"): Promise<void> {
    this.#next().reject(new AccessKeysError(message));
    await settled();
  }

  async has(kid: string): Promise<boolean | string> {
    try {
      return (await this.keys.find(kid)) === KEY;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}

/** All promises that were ready, and those behind them. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function fetched(...kids: string[]): Promise<Rig> {
  const rig = new Rig();
  const first = rig.has("");
  await rig.answer(...kids);
  await first;
  return rig;
}

describe("fetching", () => {
  it("happens once for all who wait, at the first question and not before", async () => {
    const rig = new Rig();
    expect(rig.fetches).toBe(0);
    const waiting = Array.from({ length: 10_000 }, (_, at) => rig.has(at % 2 === 0 ? "a" : `x${at}`));
    expect(rig.fetches).toBe(1);
    await rig.answer("a");
    const found = await Promise.all(waiting);
    expect(found.filter((value) => value === true)).toHaveLength(5_000);
    expect(found.filter((value) => value === false)).toHaveLength(5_000);
    expect(rig.fetches).toBe(1);
  });

  it("is not waited for by more than so many", async () => {
    const rig = new Rig();
    const waiting = Array.from({ length: MAX_WAITING }, () => rig.has("a"));
    expect(await rig.has("a")).toContain("wait for the keys already");
    await rig.answer("a");
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([true]));
    expect(await rig.has("a")).toBe(true);
  });

  it("tells all who wait of its failure, and is tried again after a while", async () => {
    const rig = new Rig();
    const waiting = [rig.has("a"), rig.has("b")];
    await rig.fail();
    expect(await Promise.all(waiting)).toEqual(["the service is down", "the service is down"]);
    rig.now += RETRY_AFTER_MS - 1;
    expect(await rig.has("a")).toBe("the service is down");
    expect(rig.fetches).toBe(1);
    rig.now += 1;
    const again = rig.has("a");
    await rig.answer("a");
    expect(await again).toBe(true);
    expect(rig.fetches).toBe(2);
    expect(rig.logs).toEqual(["Refusing requests that need a token of Cloudflare Access"]);
  });

  it("takes only so long", async () => {
    const rig = new Rig(20);
    expect(await rig.has("a")).toBe("the keys did not come within 20 ms");
  });

  it("ends with the set, and says so in no log", async () => {
    const rig = new Rig();
    const waiting = rig.has("a");
    rig.keys.close();
    expect(await waiting).toBe("nobody needs the keys any more");
    expect(rig.logs).toEqual([]);
  });
});

describe("keys that are not known", () => {
  it("are looked for once in a cool-down, whoever asks for how many", async () => {
    const rig = await fetched("a");
    const strangers = (): Promise<unknown> =>
      Promise.all(Array.from({ length: 1_000 }, (_, at) => rig.has(`${Math.random()}${at}`)));
    for (let round = 0; round < 3; round++) {
      rig.now += COOL_DOWN_MS - 1;
      await strangers();
      expect(rig.fetches).toBe(1 + round);
      expect(await rig.has("a")).toBe(true);
      rig.now += 1;
      const waiting = strangers();
      expect(rig.fetches).toBe(2 + round);
      expect(await rig.has("a")).toBe(true);
      await rig.answer("a");
      await waiting;
    }
  });

  it("are found when the team has got a new one, and the one that it withdrew is gone", async () => {
    const rig = await fetched("a");
    rig.now += COOL_DOWN_MS;
    const found = rig.has("b");
    await rig.answer("b");
    expect(await found).toBe(true);
    rig.now += COOL_DOWN_MS;
    const withdrawn = rig.has("a");
    await rig.answer("b");
    expect(await withdrawn).toBe(false);
  });

  it("can't be judged while the service is away; the others can", async () => {
    const rig = await fetched("a");
    rig.now += COOL_DOWN_MS;
    const unknown = rig.has("b");
    await rig.fail();
    expect(await unknown).toBe("the service is down");
    expect(await rig.has("b")).toBe("the service is down");
    expect(await rig.has("a")).toBe(true);
    expect(rig.fetches).toBe(2);
  });
});

describe("keys that grow old", () => {
  it("serve while they are fetched anew", async () => {
    const rig = await fetched("a");
    rig.now += REFRESH_AFTER_MS - 1;
    expect(await rig.has("a")).toBe(true);
    expect(rig.fetches).toBe(1);
    rig.now += 1;
    expect(await rig.has("a")).toBe(true);
    expect(await rig.has("a")).toBe(true);
    expect(rig.fetches).toBe(2);
    await rig.answer("b");
    expect(await rig.has("b")).toBe(true);
    expect(await rig.has("a")).toBe(false);
    expect(rig.fetches).toBe(2);
  });

  it("go on serving while the service is away, for a day", async () => {
    const rig = await fetched("a");
    const born = rig.now;
    let failures = 0;
    for (rig.now += REFRESH_AFTER_MS; rig.now - born < MAX_KEY_AGE_MS; rig.now += REFRESH_AFTER_MS) {
      expect(await rig.has("a")).toBe(true);
      await rig.fail();
      failures++;
      expect(await rig.has("a")).toBe(true);
    }
    expect(failures).toBe(23);
    expect(rig.fetches).toBe(24);
    expect(new Set(rig.logs)).toEqual(new Set(["Going on with old keys of Cloudflare Access"]));
    expect(rig.now - born).toBe(MAX_KEY_AGE_MS);
    const late = rig.has("a");
    await rig.fail();
    expect(await late).toBe("the service is down");
    rig.now += RETRY_AFTER_MS;
    const back = rig.has("a");
    await rig.answer("a");
    expect(await back).toBe(true);
  });

  it("are old when the clock was set back", async () => {
    const rig = await fetched("a");
    rig.now -= 1;
    const found = rig.has("a");
    expect(rig.fetches).toBe(2);
    await rig.answer("a");
    expect(await found).toBe(true);
  });
});
