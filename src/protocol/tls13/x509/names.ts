/** Whom a certificate is for: subject alternative names (RFC 5280 § 4.2.1.6, RFC 9525) and name constraints (§ 4.2.1.10). */
import { addressBytes } from "../../bytes/ip-address.ts";
import { badCertificate, DerReader } from "./der-reader.ts";

export type GeneralName =
  | { readonly kind: "dns"; readonly name: string }
  | { readonly kind: "ip"; readonly bytes: Buffer }
  /** One that no server name is compared with. */
  | { readonly kind: "other" };

export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

const MAX_PRINTED_NAMES = 3;
const DNS_TAG = 0x82;
const IP_TAG = 0x87;
const PERMITTED_TAG = 0xa0;
const EXCLUDED_TAG = 0xa1;

export function readGeneralNames(list: DerReader): GeneralName[] {
  const names: GeneralName[] = [];
  while (!list.atEnd) names.push(readGeneralName(list));
  return names;
}

/** An iPAddress constraint is an address and its mask. */
const SUBTREE_ADDRESS_LENGTHS: readonly number[] = [8, 32];

function readGeneralName(reader: DerReader): GeneralName {
  const { tag, content } = reader.read();
  if (tag === DNS_TAG) return { kind: "dns", name: content.toString("latin1").toLowerCase() };
  if (tag === IP_TAG) return { kind: "ip", bytes: content };
  return { kind: "other" };
}

/** GeneralSubtree = SEQUENCE { base, [0] minimum DEFAULT 0, [1] maximum }, of which RFC 5280 allows the base alone. */
export function readNameConstraints(fields: DerReader): NameConstraints {
  const trees = (tag: number): GeneralName[] => {
    const field = fields.optional(tag);
    const list = new DerReader(field?.content ?? Buffer.alloc(0));
    const names: GeneralName[] = [];
    while (!list.atEnd) {
      const tree = list.sequence();
      const base = readGeneralName(tree);
      tree.end();
      if (base.kind === "ip" && !SUBTREE_ADDRESS_LENGTHS.includes(base.bytes.length)) {
        throw badCertificate("has a name constraint that is no address and mask");
      }
      names.push(base);
    }
    return names;
  };
  const permitted = trees(PERMITTED_TAG);
  const excluded = trees(EXCLUDED_TAG);
  fields.end();
  return { permitted, excluded };
}

/** Whether one of the names is that of a server. `serverName` is in lower case, without a dot at its end. */
export function namesServer(names: readonly GeneralName[], serverName: string): boolean {
  const address = addressBytes(serverName);
  return names.some((name) => {
    if (name.kind === "ip") return address?.equals(name.bytes) === true;
    return name.kind === "dns" && address === undefined && matches(name.name, serverName);
  });
}

/** A few of the names, for people; nothing that could rewrite a terminal. */
export function printedNames(names: readonly GeneralName[]): string {
  const readable = names.flatMap((name) =>
    name.kind === "dns" && /^[\w.*-]{1,253}$/.test(name.name) ? [name.name] : [],
  );
  if (readable.length === 0) return "nobody";
  const shown = readable.slice(0, MAX_PRINTED_NAMES).join(", ");
  return readable.length > MAX_PRINTED_NAMES ? `${shown}, …` : shown;
}

/** A wildcard is a whole first label, stands for one label, and has two labels behind it at least: `*.com` is for nobody. */
function matches(pattern: string, serverName: string): boolean {
  if (!pattern.startsWith("*.")) return pattern === serverName;
  const suffix = pattern.slice(1);
  const dot = serverName.indexOf(".");
  return dot > 0 && suffix.slice(1).includes(".") && serverName.slice(dot) === suffix;
}

/** Throws when `names`, of a certificate below, are not within an authority's constraints. */
export function expectPermitted({ permitted, excluded }: NameConstraints, names: readonly GeneralName[]): void {
  // Directory names, mail addresses, URIs: not compared here, and what is not compared is not permitted.
  if ([...permitted, ...excluded].some((tree) => tree.kind === "other")) {
    throw badCertificate("has name constraints that are not known here: only DNS names and addresses are");
  }
  for (const name of names) {
    if (name.kind === "other") continue;
    if (excluded.some((tree) => isWithin(name, tree) || standsFor(name, tree))) {
      throw badCertificate("has a name that its authority excludes");
    }
    const sameKind = permitted.filter((tree) => tree.kind === name.kind);
    if (sameKind.length > 0 && !sameKind.some((tree) => isWithin(name, tree))) {
      throw badCertificate("has a name for which its authority is not permitted");
    }
  }
}

/** Whether a wildcard is for some name within the tree, though not for those alone: `*.a.test` and the tree `b.a.test`. */
function standsFor(name: GeneralName, tree: GeneralName): boolean {
  if (name.kind !== "dns" || tree.kind !== "dns" || !name.name.startsWith("*.")) return false;
  return tree.name.endsWith(name.name.slice(1));
}

/** Whether all that the name is for is within the tree. */
function isWithin(name: GeneralName, tree: GeneralName): boolean {
  if (name.kind === "dns" && tree.kind === "dns") {
    // With a dot before it a tree has the names below alone, as OpenSSL and Go read it.
    if (tree.name.startsWith(".")) return name.name.endsWith(tree.name);
    return tree.name === "" || name.name === tree.name || name.name.endsWith(`.${tree.name}`);
  }
  if (name.kind !== "ip" || tree.kind !== "ip") return false;
  const { length } = name.bytes;
  if (tree.bytes.length !== 2 * length) return false;
  return name.bytes.every((byte, at) => {
    const mask = tree.bytes[length + at] ?? 0xff;
    return (byte & mask) === ((tree.bytes[at] ?? 0) & mask);
  });
}
