/** What Cloudflare tells connectors by TXT records (wire § 2.1): which features are on for whom, and how transports are split. */

export const FEATURE_RECORD = "cfd-features.argotunnel.com";
export const PROTOCOL_RECORD = "protocol-v2.argotunnel.com";

export interface FeatureRecord {
  /** Of the accounts, in percent, that use datagrams of version 3. */
  readonly datagramV3Percentage: number;
  /** No connectivity checks at start, please. */
  readonly skipPrechecks: boolean;
}

/** In percent of the accounts, by transport; those that the record does not name are missing. */
export type ProtocolRecord = ReadonlyMap<string, number>;

const PERCENT = 100;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a, 32 bits, modulo 100. */
export function accountThreshold(accountTag: string): number {
  let hash = FNV_OFFSET;
  for (const byte of Buffer.from(accountTag)) hash = Math.imul(hash ^ byte, FNV_PRIME);
  return (hash >>> 0) % PERCENT;
}

/** Whether what is on for so many accounts is on for this one. */
export function isEnabled(percentage: number, accountTag: string): boolean {
  return percentage > accountThreshold(accountTag);
}

/** `{"dv3_2":<percentage>,"skip_prechecks":<bool>}`; other keys are of later versions. Throws on what is none. */
export function parseFeatureRecord(text: string): FeatureRecord {
  const record: unknown = JSON.parse(text);
  if (typeof record !== "object" || record === null || Array.isArray(record)) throw new TypeError("not an object");
  const { dv3_2: percentage = 0, skip_prechecks: skipPrechecks = false } = record as Record<string, unknown>;
  if (typeof skipPrechecks !== "boolean") throw new TypeError("skip_prechecks is no boolean");
  return { datagramV3Percentage: percentageOf(percentage, "dv3_2"), skipPrechecks };
}

/** `[{"protocol":"quic","percentage":100},…]`. Throws on what is none. */
export function parseProtocolRecord(text: string): ProtocolRecord {
  const record: unknown = JSON.parse(text);
  if (!Array.isArray(record)) throw new TypeError("not a list");
  const shares = record.map((entry: unknown): [string, number] => {
    const { protocol, percentage } = (entry ?? {}) as Record<string, unknown>;
    if (typeof protocol !== "string") throw new TypeError("an entry without protocol");
    return [protocol, percentageOf(percentage, protocol)];
  });
  return new Map(shares);
}

function percentageOf(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  throw new TypeError(`${name} is no percentage`);
}
