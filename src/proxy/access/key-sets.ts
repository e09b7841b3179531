/** The keys of all teams that a proxy's rules name: rules of the same team share them, and rules that replace others find them fetched. */
import type { AccessPolicy, Logger } from "../../types.ts";
import type { OpenConnections } from "../open-connections.ts";
import { fetchKeys } from "./fetch-keys.ts";
import { KeySet } from "./key-set.ts";
import { certsUrlOf } from "./team.ts";

export interface AccessOptions {
  /** Where a policy's keys are, in place of its team's own address; for tests. */
  readonly certsUrl?: ((policy: AccessPolicy) => URL) | undefined;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

interface Entry {
  readonly keys: KeySet;
  users: number;
}

/** One user's part of a team's keys. */
export interface SharedKeys {
  readonly keys: KeySet;
  /** Once; with the last user a fetch under way ends. */
  leave(): void;
}

export class KeySets {
  readonly now: () => number;
  readonly #certsUrl: AccessOptions["certsUrl"];
  readonly #connections: OpenConnections;
  readonly #logger: Logger;
  readonly #entries = new Map<string, Entry>();

  constructor(options: AccessOptions, connections: OpenConnections, logger: Logger) {
    this.now = options.now ?? Date.now;
    this.#certsUrl = options.certsUrl;
    this.#connections = connections;
    this.#logger = logger;
  }

  share(policy: AccessPolicy, issuer: string): SharedKeys {
    const url = this.#certsUrl?.(policy) ?? certsUrlOf(issuer);
    const { href } = url;
    const entry = this.#entries.get(href) ?? { keys: this.#open(url), users: 0 };
    this.#entries.set(href, entry);
    entry.users++;
    return {
      keys: entry.keys,
      leave: () => {
        entry.users--;
        if (entry.users > 0) return;
        this.#entries.delete(href);
        entry.keys.close();
      },
    };
  }

  #open(url: URL): KeySet {
    const connections = this.#connections;
    return new KeySet({
      name: url.href,
      now: this.now,
      logger: this.#logger,
      async fetch(signal) {
        connections.opened();
        try {
          return await fetchKeys(url, signal);
        } finally {
          connections.closed();
        }
      },
    });
  }
}
