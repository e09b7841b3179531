/** `ipRules`: where `socks-proxy` may connect to (ingress § 5.6). */
import { isIP } from "node:net";
import type { IpRule } from "../../types.ts";
import type { Scope } from "./problems.ts";
import { readBoolean, readFields, readInteger, readList } from "./values.ts";

export function readIpRules(value: unknown, scope: Scope): readonly IpRule[] | undefined {
  return readList(value, scope, "a list of { prefix, ports, allow }")?.map((item, index) =>
    readIpRule(item, scope.at(index)),
  );
}

function readIpRule(value: unknown, scope: Scope): IpRule {
  let prefix: string | undefined;
  const ports: number[] = [];
  let allow = false;
  readFields(
    value,
    scope,
    {
      prefix: (field, at) => (prefix = readPrefix(field, at)),
      ports(field, at) {
        readList(field, at, "a list of ports")?.forEach((item, index) => {
          const port = readInteger(item, at.at(index), 1, 65_535);
          if (port !== undefined) ports.push(port);
        });
      },
      allow: (field, at) => (allow = readBoolean(field, at) ?? false),
    },
    // Without its ports an entry would be about all of them.
    ["ports"],
  );
  if (prefix === undefined) scope.problem('found no prefix; one such as "10.0.0.0/8" would be right');
  return { prefix: prefix ?? "", ports, allow };
}

/** A wrong one is given back all the same: its problem is known. */
function readPrefix(value: unknown, scope: Scope): string {
  const text = typeof value === "string" ? value : "";
  const parts = /^([^/%]+)\/(\d{1,3})$/.exec(text);
  const family = isIP(parts?.[1] ?? "");
  if (family === 0 || Number(parts?.[2]) > (family === 4 ? 32 : 128)) {
    scope.wrong(value, 'an address and the length of its prefix, such as "10.0.0.0/8",');
  }
  return text;
}
