/** Lists in messages that are not of our making, or as long as a user's configuration is. */
const SHOWN = 3;

/** `a, b, c and 14 more`. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN).join(", ");
  return names.length > SHOWN + 1 ? `${shown} and ${names.length - SHOWN} more` : names.join(", ");
}

/** A TLS error's message; Node's own lists every name of a certificate that is for others, which may be a hundred. */
export function tlsMessage(error: Error): string {
  if (!("code" in error) || error.code !== "ERR_TLS_CERT_ALTNAME_INVALID") return error.message;
  const [, before = "", names = ""] = /^(.*altnames: )?(.*)$/s.exec(error.message) ?? [];
  return `${before}${listNames(names.split(", "))}`;
}
