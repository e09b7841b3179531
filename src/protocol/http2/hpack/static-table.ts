/** The static table of RFC 7541 Appendix A; index 1 is the first entry. */
import { HeaderField } from "../../bytes/header-field.ts";

const ENTRIES: readonly (readonly [name: string, value: string])[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
];

export const STATIC_TABLE_LENGTH = ENTRIES.length;

/** The fields by index; index 0 is unused. */
export const STATIC_FIELDS: readonly (HeaderField | undefined)[] = [
  undefined,
  ...ENTRIES.map(([name, value]) => new HeaderField(name, value)),
];

/** What the static table knows of a name. */
export interface StaticName {
  /** The lowest index with the name. */
  readonly index: number;
  /** The index of the whole field by its value. */
  readonly values: ReadonlyMap<string, number>;
}

/** Two levels, name and then value, so that a look-up joins no strings. */
export const STATIC_NAMES: ReadonlyMap<string, StaticName> = (() => {
  const names = new Map<string, { index: number; values: Map<string, number> }>();
  for (const [i, [name, value]] of ENTRIES.entries()) {
    const known = names.get(name);
    if (known === undefined) names.set(name, { index: i + 1, values: new Map([[value, i + 1]]) });
    else known.values.set(value, i + 1);
  }
  return names;
})();
