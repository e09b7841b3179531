const CANONICAL = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * Canonical lower-case spelling of a UUID, or undefined when `text` is none.
 * Takes the spellings that cloudflared takes (wire § 1.1): canonical, 32 bare hex digits, `{…}` and `urn:uuid:…`.
 */
export function parseUuid(text: string): string | undefined {
  let uuid = text.toLowerCase();
  if (/^[0-9a-f]{32}$/.test(uuid)) uuid = uuid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  else if (uuid.startsWith("urn:uuid:")) uuid = uuid.slice("urn:uuid:".length);
  else if (uuid.startsWith("{") && uuid.endsWith("}")) uuid = uuid.slice(1, -1);
  return CANONICAL.test(uuid) ? uuid : undefined;
}
