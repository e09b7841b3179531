/** cloudflared's console format: `2026-01-02T03:04:05Z INF message key=value` (operations § 5). */

const LEVELS: Readonly<Record<string, readonly [label: string, colour: number]>> = {
  debug: ["DBG", 33],
  info: ["INF", 32],
  warn: ["WRN", 33],
  error: ["ERR", 31],
  fatal: ["FTL", 31],
};

/** One line for the entry that a JSON log line holds. */
export function formatConsole(json: string, colours: boolean): string {
  const entry: unknown = JSON.parse(json);
  if (typeof entry !== "object" || entry === null) return json;
  const { level, time, message, ...fields } = entry as Record<string, unknown>;
  const [label, colour] = LEVELS[String(level)] ?? ["???", 31];
  const paint = (text: string, code: number) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
  const parts = [paint(String(time), 90), paint(label, colour), oneLine(typeof message === "string" ? message : "")];
  // The error stands first, then the fields by name.
  const names = Object.keys(fields).sort((a, b) => Number(b === "error") - Number(a === "error") || (a < b ? -1 : 1));
  for (const name of names) {
    const value = quote(fields[name]);
    parts.push(paint(`${oneLine(name)}=`, 36) + (name === "error" ? paint(value, 31) : value));
  }
  return `${parts.join(" ")}\n`;
}

/** A message from outside can't forge a second line, nor speak to the terminal. */
function oneLine(text: string): string {
  return escapeInvisible(text.replace(/[\u0000-\u001f]/g, escape));
}

/**
 * What JSON leaves as it is: controls that a terminal obeys in eight bits, too, line ends of Unicode, and marks that turn the
 * direction of writing. Sound for text and for JSON as a whole.
 */
export function escapeInvisible(text: string): string {
  return text.replace(/[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, escape);
}

function quote(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
  if (typeof value === "string" && /[^\x21-\x7e]|["\\]/.test(text)) {
    return escapeInvisible(JSON.stringify(text));
  }
  return oneLine(text);
}

function escape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
