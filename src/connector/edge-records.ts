/**
 * What Cloudflare tells connectors by TXT records (wire § 2.1), looked up beside the first dials and then every hour. Nothing waits
 * for it, and a look-up that fails leaves the last values as they are; at first nothing is said.
 */
import type { Resolvers } from "../edge/resolvers.ts";
import { within } from "../edge/first-answer.ts";
import { lookUpTxt } from "../edge/look-up.ts";
import {
  FEATURE_RECORD,
  type FeatureRecord,
  isEnabled,
  parseFeatureRecord,
  parseProtocolRecord,
  PROTOCOL_RECORD,
} from "../edge/txt-records.ts";
import type { Logger } from "../types.ts";
import { asError } from "./errors.ts";
import { RefreshTimer } from "./refresh-timer.ts";

/** For one record, as cloudflared has it. */
const LOOKUP_MS = 10_000;

export interface EdgeRecordsOptions {
  readonly random: () => number;
  readonly logger: Logger;
  readonly resolvers?: Resolvers;
}

export class EdgeRecords {
  readonly #options: EdgeRecordsOptions;
  readonly #closing = new AbortController();
  readonly #timer: RefreshTimer;
  #features: FeatureRecord = { datagramV3Percentage: 0, skipPrechecks: false };
  #quicPercentage: number | undefined;

  constructor(options: EdgeRecordsOptions) {
    this.#options = options;
    this.#timer = new RefreshTimer({ random: options.random, refresh: () => void this.refresh() });
  }

  /** Looks both up now. Never rejects. */
  async refresh(): Promise<void> {
    const found = await Promise.all([
      this.#look(FEATURE_RECORD, (text) => {
        this.#features = parseFeatureRecord(text);
      }),
      this.#look(PROTOCOL_RECORD, (text) => this.#setProtocols(text)),
    ]);
    this.#timer.looked(!found.includes(false));
  }

  close(): void {
    this.#timer.stop();
    this.#closing.abort(new Error("the tunnel has ended"));
  }

  usesDatagramV3(accountTag: string): boolean {
    return isEnabled(this.#features.datagramV3Percentage, accountTag);
  }

  get skipPrechecks(): boolean {
    return this.#features.skipPrechecks;
  }

  /** Cloudflare has said that no account is to use QUIC. */
  get quicWithdrawn(): boolean {
    return this.#quicPercentage === 0;
  }

  #setProtocols(text: string): void {
    const before = this.quicWithdrawn;
    this.#quicPercentage = parseProtocolRecord(text).get("quic");
    if (this.quicWithdrawn !== before) {
      const what = before ? "has taken QUIC up again" : "has withdrawn QUIC: HTTP/2 is tried first";
      this.#options.logger.info(`Cloudflare ${what}`, { record: PROTOCOL_RECORD });
    }
  }

  async #look(name: string, use: (text: string) => void): Promise<boolean> {
    const { logger, resolvers } = this.#options;
    const { signal } = this.#closing;
    const onWarning = (message: string, error: unknown): void =>
      logger.debug(message, { error: asError(error).message });
    const options = { onWarning, ...(resolvers === undefined ? {} : { resolvers }) };
    try {
      use(
        await within((limited) => lookUpTxt(name, { ...options, signal: limited }), LOOKUP_MS, signal, `TXT ${name}`),
      );
      return true;
    } catch (error) {
      if (!signal.aborted) logger.debug(`TXT ${name} can't be used`, { error: asError(error).message });
      return false;
    }
  }
}
