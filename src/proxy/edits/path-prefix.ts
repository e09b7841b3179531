/** stripPrefix and addPrefix: the path that the origin is asked for. */
import type { OriginRequestOptions } from "../../types.ts";

export type EditPath = (path: string) => string;

/** Prefixes are whole segments: the slash at their end is not theirs. */
function withoutSlash(prefix: string | undefined): string {
  return prefix?.replace(/\/+$/, "") ?? "";
}

/** Takes the path with its query, as received. Undefined when there is nothing to do. */
export function pathEdit({ addPrefix, stripPrefix }: OriginRequestOptions): EditPath | undefined {
  const strip = withoutSlash(stripPrefix);
  const add = withoutSlash(addPrefix);
  if (strip === "" && add === "") return undefined;
  return (path) => {
    // "*" of OPTIONS, and the authority of CONNECT, are no paths.
    if (path !== "" && !path.startsWith("/")) return path;
    const rest = withoutPrefix(path, strip);
    return rest.startsWith("/") ? add + rest : `${add}/${rest}`;
  };
}

function withoutPrefix(path: string, prefix: string): string {
  if (prefix === "" || !path.startsWith(prefix)) return path;
  const next = path.charAt(prefix.length);
  return next === "" || next === "/" || next === "?" ? path.slice(prefix.length) : path;
}
