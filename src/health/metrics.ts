/**
 * A registry of numbers and its text form for Prometheus (exposition format 0.0.4):
 *
 *     # HELP <name> <help>
 *     # TYPE <name> counter | gauge | histogram
 *     <name>{<label>="<value>",…} <number>
 *     <name>_bucket{…,le="<bound>"} <number>, <name>_sum{…} <number>, <name>_count{…} <number>
 */

export type Labels = Readonly<Record<string, string>>;

/** What a metric is, without its values. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
}

interface Renderable extends MetricFamily {
  render(): string;
}

/** Some label values are said by the edge, or by visitors: more of them than this are not kept. */
const MAX_SERIES = 10_000;

/** One metric with all its label values. A metric without labels stands at 0 from the start. */
export class Metric implements Renderable {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly labels: readonly string[];
  /** The rendered labels, `{a="b"}` or nothing, to the number. */
  readonly #values = new Map<string, number>();

  constructor(name: string, help: string, type: "counter" | "gauge", labels: readonly string[]) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.labels = labels;
    if (labels.length === 0) this.#values.set("", 0);
  }

  add(amount = 1, labels?: Labels): void {
    const key = renderLabels(this.labels, labels);
    this.#set(key, (this.#values.get(key) ?? 0) + amount);
  }

  set(value: number, labels?: Labels): void {
    this.#set(renderLabels(this.labels, labels), value);
  }

  /** Forgets every value: what is told at each rendering may be gone at the next. */
  clear(): void {
    this.#values.clear();
  }

  render(): string {
    if (this.#values.size === 0) return "";
    const lines = head(this);
    for (const [labels, value] of this.#values) lines.push(`${this.name}${labels} ${value}`);
    return `${lines.join("\n")}\n`;
  }

  #set(key: string, value: number): void {
    if (this.#values.size < MAX_SERIES || this.#values.has(key)) this.#values.set(key, value);
  }
}

/** A histogram's numbers for one set of label values. */
export class Distribution {
  readonly labels: Labels | undefined;
  /** By bucket, each without those below it; the last has what is above all bounds. */
  readonly counts: number[];
  sum = 0;
  readonly #bounds: readonly number[];

  constructor(bounds: readonly number[], labels: Labels | undefined) {
    this.labels = labels;
    this.#bounds = bounds;
    this.counts = Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? 0)) bucket++;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }
}

/** Counts observations by size. One without labels is there from the start. */
export class Histogram implements Renderable {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly labels: readonly string[];
  readonly #bounds: readonly number[];
  readonly #values = new Map<string, Distribution>();

  constructor(name: string, help: string, bounds: readonly number[], labels: readonly string[]) {
    this.name = name;
    this.help = help;
    this.labels = labels;
    this.#bounds = bounds;
    if (labels.length === 0) this.of(undefined);
  }

  observe(value: number, labels?: Labels): void {
    this.of(labels)?.observe(value);
  }

  /** The numbers of these label values, for those who observe often. Undefined where there are too many of them. */
  of(labels: Labels | undefined): Distribution | undefined {
    const key = renderLabels(this.labels, labels);
    let distribution = this.#values.get(key);
    if (distribution !== undefined) return distribution;
    if (this.#values.size >= MAX_SERIES) return undefined;
    distribution = new Distribution(this.#bounds, labels);
    this.#values.set(key, distribution);
    return distribution;
  }

  render(): string {
    if (this.#values.size === 0) return "";
    const lines = head(this);
    for (const [key, { counts, labels, sum }] of this.#values) {
      let total = 0;
      counts.forEach((count, bucket) => {
        total += count;
        const le = String(this.#bounds[bucket] ?? "+Inf");
        lines.push(`${this.name}_bucket${renderLabels([...this.labels, "le"], { ...labels, le })} ${total}`);
      });
      lines.push(`${this.name}_sum${key} ${sum}`, `${this.name}_count${key} ${total}`);
    }
    return `${lines.join("\n")}\n`;
  }
}

export class Registry {
  readonly #metrics: Renderable[] = [];
  readonly #collectors: (() => void)[] = [];

  counter(name: string, help: string, labels: readonly string[] = []): Metric {
    return this.#add(new Metric(name, help, "counter", labels));
  }

  gauge(name: string, help: string, labels: readonly string[] = []): Metric {
    return this.#add(new Metric(name, help, "gauge", labels));
  }

  /** `bounds` are the buckets' upper ones, rising, without infinity. */
  histogram(name: string, help: string, bounds: readonly number[], labels: readonly string[] = []): Histogram {
    return this.#add(new Histogram(name, help, bounds, labels));
  }

  /** Every metric there is, those without a value yet too. */
  get families(): readonly MetricFamily[] {
    return this.#metrics;
  }

  /** Called before each rendering, for what is cheaper to look up than to follow. */
  onCollect(collector: () => void): void {
    this.#collectors.push(collector);
  }

  render(): string {
    for (const collect of this.#collectors) collect();
    return this.#metrics.map((metric) => metric.render()).join("");
  }

  #add<M extends Renderable>(metric: M): M {
    this.#metrics.push(metric);
    return metric;
  }
}

function head({ name, help, type }: MetricFamily): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function renderLabels(names: readonly string[], labels: Labels | undefined): string {
  if (names.length === 0) return "";
  return `{${names.map((name) => `${name}="${escapeValue(labels?.[name] ?? "")}"`).join(",")}}`;
}

function escapeValue(value: string): string {
  return /[\\"\n]/.test(value) ? value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n") : value;
}
