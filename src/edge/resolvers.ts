/** How names are resolved (wire §§ 2.1, 2.2): by this machine's resolver, and over TLS by one that needs nothing of it. */
import { lookup, Resolver } from "node:dns/promises";
import type { DnsRecord, RecordTypeName } from "../protocol/dns/message.ts";
import { queryCloudflare } from "./dot.ts";

export interface SrvRecord {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

export interface HostAddress {
  readonly ip: string;
  readonly family: 4 | 6;
}

/** The defaults ask the system's resolver; tests bring their own. */
export interface Resolvers {
  srv(name: string, signal: AbortSignal): Promise<SrvRecord[]>;
  /** The strings of each TXT record. */
  txt(name: string, signal: AbortSignal): Promise<string[][]>;
  /** Addresses in the resolver's order. */
  addresses(host: string, signal: AbortSignal): Promise<HostAddress[]>;
  /** The AAAA records as the network's resolver has them, those that DNS64 makes up too. */
  aaaa(host: string, signal: AbortSignal): Promise<string[]>;
  overTls(name: string, type: RecordTypeName, signal: AbortSignal): Promise<DnsRecord[]>;
}

/** Asks through c-ares, which, unlike getaddrinfo, can be told to stop: an abort leaves nothing under way. */
async function ask<T>(resolver: Resolver, signal: AbortSignal, query: () => Promise<T>): Promise<T> {
  const cancel = (): void => resolver.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await query();
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

export async function resolveSrv(resolver: Resolver, name: string, signal: AbortSignal): Promise<SrvRecord[]> {
  const records = await ask(resolver, signal, () => resolver.resolveSrv(name));
  return records.map(({ priority, weight, port, name: target }) => ({ priority, weight, port, target }));
}

export function resolveTxt(resolver: Resolver, name: string, signal: AbortSignal): Promise<string[][]> {
  return ask(resolver, signal, () => resolver.resolveTxt(name));
}

export function resolveAaaa(resolver: Resolver, name: string, signal: AbortSignal): Promise<string[]> {
  return ask(resolver, signal, () => resolver.resolve6(name));
}

async function systemAddresses(host: string): Promise<HostAddress[]> {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address, family }) => ({ ip: address, family: family === 6 ? 6 : 4 }));
}

/** A new one each time reads the system's settings anew: they change with the network. */
const systemResolver = (): Resolver => new Resolver({ timeout: 3_000, tries: 2 });

export const systemResolvers: Resolvers = {
  srv: (name, signal) => resolveSrv(systemResolver(), name, signal),
  txt: (name, signal) => resolveTxt(systemResolver(), name, signal),
  addresses: systemAddresses,
  aaaa: (host, signal) => resolveAaaa(systemResolver(), host, signal),
  overTls: queryCloudflare,
};
