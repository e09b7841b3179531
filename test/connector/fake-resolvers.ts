/** Resolvers without a network: names and their addresses as the test has them, which it may change at any time. */
import type { HostAddress, Resolvers } from "../../src/edge/resolvers.ts";

export class FakeResolvers implements Resolvers {
  /** The targets of the SRV record, `region0`, `region1` … by default; addresses of each. */
  regions: readonly (readonly string[])[];
  /** Other names: the built-in ones, those of static entries. */
  hosts: Readonly<Record<string, readonly string[]>> = {};
  txts: Readonly<Record<string, string>> = {};
  aaaas: readonly string[] = [];
  /** What the system's resolver fails with; what DNS over TLS does. */
  system: Error | "silent" | undefined;
  tls: Error | undefined = new Error("no DNS over TLS");
  /** What was asked, as in `srv _x` or `tls SRV _x`. */
  readonly asked: string[] = [];

  constructor(regions: readonly (readonly string[])[] = []) {
    this.regions = regions;
  }

  readonly srv: Resolvers["srv"] = (name) =>
    this.#answer(`srv ${name}`, () =>
      this.regions.map((_addresses, i) => ({ priority: i, weight: 1, port: 7844, target: `region${i}` })),
    );

  readonly txt: Resolvers["txt"] = (name) =>
    this.#answer(`txt ${name}`, () => {
      const text = this.txts[name];
      if (text === undefined) throw new Error("ENODATA");
      return [[text]];
    });

  readonly addresses: Resolvers["addresses"] = (host) =>
    this.#answer(`addresses ${host}`, () => this.#hostAddresses(host));

  readonly aaaa: Resolvers["aaaa"] = (host) => this.#answer(`aaaa ${host}`, () => [...this.aaaas]);

  readonly overTls: Resolvers["overTls"] = async (name, type) => {
    this.asked.push(`tls ${type} ${name}`);
    await Promise.resolve();
    if (this.tls !== undefined) throw this.tls;
    if (type === "SRV") {
      return this.regions.map((_addresses, i) => ({
        type,
        name,
        ttl: 60,
        priority: i,
        weight: 1,
        port: 7844,
        target: `region${i}`,
      }));
    }
    if (type === "TXT") return [{ type, name, ttl: 60, texts: [this.txts[name] ?? ""] }];
    const family = type === "A" ? 4 : 6;
    const found = this.#hostAddresses(name).filter((address) => address.family === family);
    return found.map(({ ip }) => ({ type, name, ttl: 60, address: ip }));
  };

  #hostAddresses(host: string): HostAddress[] {
    const region = /^region(\d)$/.exec(host)?.[1];
    const ips = region === undefined ? this.hosts[host] : this.regions[Number(region)];
    if (ips === undefined) throw new Error("ENOTFOUND");
    return ips.map((ip) => ({ ip, family: ip.includes(":") ? 6 : 4 }));
  }

  async #answer<T>(what: string, answer: () => T): Promise<T> {
    this.asked.push(what);
    await Promise.resolve();
    if (this.system === "silent") return await new Promise<never>(() => {});
    if (this.system !== undefined) throw this.system;
    return answer();
  }
}
