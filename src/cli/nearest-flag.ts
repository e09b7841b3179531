/** The flag that somebody may have meant. */
import { settingsTable } from "../config/settings-table.ts";
import { nearest } from "../proxy/ingress/nearest.ts";

/** So many equal letters say what was meant: of `retry`, of `configuration`. */
const TELLING = 4;

/** A slip of the keys first, then a part of a flag's name, then what begins alike; undefined where nothing is near. */
export function nearestFlag(given: string): string | undefined {
  const name = given.toLowerCase().replaceAll("_", "-");
  const known = knownFlags();
  return (
    nearest(name, known, 1) ??
    shortest(known.filter((flag) => isPart(name, flag))) ??
    // In a short name two other letters make another word.
    (name.length > TELLING ? nearest(name, known) : undefined) ??
    shortest(known.filter((flag) => name.startsWith(`${flag}-`) || name.endsWith(`-${flag}`))) ??
    known.find((flag) => flag.slice(0, TELLING) === name.slice(0, TELLING))
  );
}

function isPart(name: string, flag: string): boolean {
  return (name.length > 1 && flag.startsWith(name)) || (name.length >= TELLING && flag.endsWith(name));
}

/** Of those that do something, or will; a single letter is near to everything. */
function knownFlags(): readonly string[] {
  const live = settingsTable.filter(({ status }) => status.kind === "supported" || status.kind === "not-yet");
  const names = live.flatMap((spec) => [spec.name, ...spec.aliases]).filter((name) => name.length > 1);
  return [...names, "help", "version"];
}

function shortest(flags: readonly string[]): string | undefined {
  return flags.reduce<string | undefined>(
    (best, flag) => (best === undefined || flag.length < best.length ? flag : best),
    undefined,
  );
}
