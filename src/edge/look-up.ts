/** A look-up by the system's resolver, and over TLS where that fails or says nothing (wire § 2.2). */
import type { DnsRecord } from "../protocol/dns/message.ts";
import { EdgeDiscoveryError } from "./errors.ts";
import { type Ask, firstAnswer, within } from "./first-answer.ts";
import { type HostAddress, type Resolvers, type SrvRecord, systemResolvers } from "./resolvers.ts";

export interface LookUpOptions {
  readonly signal: AbortSignal;
  /** Told of what went wrong without being fatal. */
  readonly onWarning: (message: string, error: unknown) => void;
  readonly resolvers?: Resolvers;
}

/** For one look-up by the system's resolver. */
export const SYSTEM_LOOKUP_MS = 10_000;
/** A resolver that works answers sooner; who waits for one that does not has the other way by then. */
const HEAD_START_MS = 3_000;
/** For all of DNS over TLS. */
const OVER_TLS_MS = 15_000;

/** Rejects with the error of the system's resolver: it is what the user can mend. */
async function eitherWay<T>(what: string, system: Ask<T>, overTls: Ask<T>, options: LookUpOptions): Promise<T> {
  const { onWarning, signal } = options;
  let original: unknown = new EdgeDiscoveryError(`no answer within ${HEAD_START_MS / 1_000} s`);
  const bySystem: Ask<T> = async (limited) => {
    try {
      return await within(system, SYSTEM_LOOKUP_MS, limited, what);
    } catch (error) {
      original = error;
      throw error;
    }
  };
  const byTls: Ask<T> = async (limited) => {
    onWarning(`The system's resolver did not find ${what}; asking 1.1.1.1 over TLS`, original);
    try {
      return await within(overTls, OVER_TLS_MS, limited, `${what} over TLS`);
    } catch (error) {
      if (!limited.aborted) onWarning(`DNS over TLS did not find ${what} either`, error);
      throw error;
    }
  };
  try {
    return await firstAnswer([bySystem, byTls], HEAD_START_MS, signal);
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
}

export function lookUpSrv(name: string, options: LookUpOptions): Promise<SrvRecord[]> {
  const { resolvers = systemResolvers } = options;
  return eitherWay(
    `SRV ${name}`,
    async (signal) => {
      const records = await resolvers.srv(name, signal);
      if (records.length === 0) throw new EdgeDiscoveryError(`there is no SRV record of ${name}`);
      return records;
    },
    async (signal) => {
      const records = await resolvers.overTls(name, "SRV", signal);
      return records.flatMap((record) => (record.type === "SRV" ? [record] : []));
    },
    options,
  );
}

/** The first TXT record's strings, joined (RFC 7208 § 3.3 has it so; those of the edge are short). */
export function lookUpTxt(name: string, options: LookUpOptions): Promise<string> {
  const { resolvers = systemResolvers } = options;
  return eitherWay(
    `TXT ${name}`,
    async (signal) => (await resolvers.txt(name, signal))[0]?.join("") ?? "",
    async (signal) => {
      const records = await resolvers.overTls(name, "TXT", signal);
      return records.flatMap((record) => (record.type === "TXT" ? [record.texts.join("")] : []))[0] ?? "";
    },
    options,
  );
}

/** At least one address. */
export function lookUpAddresses(host: string, options: LookUpOptions): Promise<HostAddress[]> {
  const { resolvers = systemResolvers } = options;
  return eitherWay(
    host,
    (signal) => resolvers.addresses(host, signal).then((found) => atLeastOne(found, host)),
    async (signal) => {
      const ask = (type: "A" | "AAAA"): Promise<DnsRecord[]> => resolvers.overTls(host, type, signal);
      const answers = await Promise.allSettled([ask("A"), ask("AAAA")]);
      return atLeastOne(
        answers.flatMap((answer) => (answer.status === "fulfilled" ? addressesIn(answer.value) : [])),
        host,
      );
    },
    options,
  );
}

function addressesIn(records: readonly DnsRecord[]): HostAddress[] {
  return records.flatMap((record) =>
    record.type === "A" || record.type === "AAAA"
      ? [{ ip: record.address, family: record.type === "A" ? 4 : 6 } as const]
      : [],
  );
}

function atLeastOne(found: HostAddress[], host: string): HostAddress[] {
  if (found.length === 0) throw new EdgeDiscoveryError(`there is no address of ${host}`);
  return found;
}
