/** Lists in messages that are not of our making, or as long as a user's configuration is. */
const SHOWN = 3;

/** `a, b, c and 14 more`. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN).join(", ");
  return names.length > SHOWN + 1 ? `${shown} and ${names.length - SHOWN} more` : names.join(", ");
}

/** OpenSSL's form: `40C7…:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../record.c:350:`. */
const OPENSSL = /(?:[\dA-F]+:)?error:[\dA-F]+:[^:]*:[^:]*:([^:]*):[^:]*:\d+:[^\n]*\n?/g;

/** A TLS error's message, without the places in OpenSSL; Node's own lists every name of a certificate that is for others, which may be a hundred. */
export function tlsMessage(error: Error): string {
  if (!("code" in error) || error.code !== "ERR_TLS_CERT_ALTNAME_INVALID") return error.message.replace(OPENSSL, "$1");
  const [, before = "", names = ""] = /^(.*altnames: )?(.*)$/s.exec(error.message) ?? [];
  return `${before}${listNames(names.split(", "))}`;
}
