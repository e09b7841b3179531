/** Reads Prometheus' exposition format, strictly: what a scraper would refuse throws. */
export interface Family {
  readonly type: string;
  /** By the labels as they stand there; those of a histogram with their suffix before them. */
  readonly samples: Map<string, number>;
}

export function parseExposition(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line does not end");
  for (const line of text.split("\n").slice(0, -1)) {
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/.exec(line);
    if (type?.[1] !== undefined && type[2] !== undefined) {
      if (families.has(type[1])) throw new Error(`${type[1]} is declared twice`);
      families.set(type[1], { type: type[2], samples: new Map() });
      continue;
    }
    if (/^# HELP [a-zA-Z_:][\w:]* \S/.test(line)) continue;
    const sample =
      /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[\d.e+-]+|NaN|[+-]Inf)$/.exec(line);
    const { family, suffix } = familyOf(families, sample?.[1] ?? "");
    if (sample === null || family === undefined) throw new Error(`not a sample: ${line}`);
    const key = `${suffix}${sample[2] ?? ""}`;
    if (family.samples.has(key)) throw new Error(`${line} stands twice`);
    family.samples.set(key, Number(sample[3]));
  }
  return families;
}

function familyOf(families: ReadonlyMap<string, Family>, name: string): { family: Family | undefined; suffix: string } {
  const suffix = /_(?:bucket|sum|count)$/.exec(name)?.[0] ?? "";
  const whole = families.get(name.slice(0, name.length - suffix.length));
  return whole?.type === "histogram" ? { family: whole, suffix } : { family: families.get(name), suffix: "" };
}

/** The names of the labels that a family's samples have, without a histogram's bounds. */
export function labelsOf({ samples }: Family): readonly string[] {
  const names = [...samples.keys()].flatMap((key) =>
    [...key.matchAll(/([a-zA-Z_]\w*)="/g)].map((match) => match[1] ?? ""),
  );
  return [...new Set(names.filter((name) => name !== "le"))].toSorted((a, b) => (a < b ? -1 : 1));
}
