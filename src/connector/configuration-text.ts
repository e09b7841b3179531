/** A configuration as a log line may show it: one line, not endless, without what could be a credential. */
import { REDACTED, redactLikely } from "../proxy/ingress/redact.ts";

/** Some dozen rules; a line per update may hold that much. */
const LONGEST = 8_192;

/** Of any JSON. */
export function configurationText(config: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(config, hideSecrets) ?? "";
  } catch {
    return "(nested too deeply to be shown)";
  }
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length} characters)` : text;
  return redactLikely(shown);
}

/** A header that a rule sets may be a credential, and a URL may hold one. */
function hideSecrets(key: string, value: unknown): unknown {
  if (typeof value === "string") return value.replace(/^([a-z][a-z\d+.-]*:\/\/)[^/?#]*@/i, `$1${REDACTED}@`);
  if ((key === "requestHeaders" || key === "responseHeaders") && isTable(value) && isTable(value["set"])) {
    return { ...value, set: Object.fromEntries(Object.keys(value["set"]).map((name) => [name, REDACTED])) };
  }
  return value;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
