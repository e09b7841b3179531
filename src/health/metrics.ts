/**
 * A registry of numbers and its text form for Prometheus (exposition format 0.0.4):
 *
 *     # HELP <name> <help>
 *     # TYPE <name> counter | gauge
 *     <name>{<label>="<value>",…} <number>
 */

export type Labels = Readonly<Record<string, string>>;

/** What a metric is, without its values. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
}

/** One metric with all its label values. A metric without labels stands at 0 from the start. */
export class Metric implements MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  /** The rendered labels, `{a="b"}` or nothing, to the number. */
  readonly #values = new Map<string, number>();

  constructor(name: string, help: string, type: "counter" | "gauge", labelled: boolean) {
    this.name = name;
    this.help = help;
    this.type = type;
    if (!labelled) this.#values.set("", 0);
  }

  add(amount = 1, labels?: Labels): void {
    const key = renderLabels(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + amount);
  }

  set(value: number, labels?: Labels): void {
    this.#values.set(renderLabels(labels), value);
  }

  render(): string {
    if (this.#values.size === 0) return "";
    const lines = [`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} ${this.type}`];
    for (const [labels, value] of this.#values) lines.push(`${this.name}${labels} ${value}`);
    return `${lines.join("\n")}\n`;
  }
}

export class Registry {
  readonly #metrics: Metric[] = [];
  readonly #collectors: (() => void)[] = [];

  counter(name: string, help: string, labelled = false): Metric {
    return this.#add(new Metric(name, help, "counter", labelled));
  }

  gauge(name: string, help: string, labelled = false): Metric {
    return this.#add(new Metric(name, help, "gauge", labelled));
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

  #add(metric: Metric): Metric {
    this.#metrics.push(metric);
    return metric;
  }
}

function renderLabels(labels: Labels | undefined): string {
  if (labels === undefined) return "";
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeValue(value: string): string {
  return /[\\"\n]/.test(value) ? value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n") : value;
}
