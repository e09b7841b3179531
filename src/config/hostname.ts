import { domainToASCII } from "node:url";

/** Lower-case ASCII form of a public host name, or undefined when `text` is none: no scheme, port, path or wildcard. */
export function parseHostname(text: string): string | undefined {
  if (!/^[^\s:/?#@\\*[\]%]+$/.test(text)) return undefined;
  const ascii = domainToASCII(text.replace(/\.$/, ""));
  const label = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?";
  return ascii.length <= 253 && new RegExp(`^${label}(?:\\.${label})+$`).test(ascii) ? ascii : undefined;
}
