/** Counters, gauges and histograms, in the text format of Prometheus (version 0.0.4). */

type Labels = Readonly<Record<string, string>>;

interface Family {
  name: string;
  help: string;
  type: "counter" | "gauge" | "histogram";
  lines(): Iterable<string>;
}

export class Metrics {
  readonly #families: Family[] = [];

  counter(name: string, help: string): Counter {
    return this.#add(new Counter(name, help));
  }

  /** A value that is asked for when the metrics are. */
  gauge(name: string, help: string, read: () => Iterable<readonly [Labels, number]>): void {
    const lines = function* () {
      for (const [labels, value] of read()) yield `${name}${inBraces(labels)} ${value}`;
    };
    this.#families.push({ name, help, type: "gauge", lines });
  }

  /** As a gauge, of what only grows and is counted elsewhere. */
  total(name: string, help: string, read: () => Iterable<readonly [Labels, number]>): void {
    const lines = function* () {
      for (const [labels, value] of read()) yield `${name}${inBraces(labels)} ${value}`;
    };
    this.#families.push({ name, help, type: "counter", lines });
  }

  /** `bounds`: upper ends of the buckets, rising. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, bounds));
  }

  #add<T extends Family>(family: T): T {
    this.#families.push(family);
    return family;
  }

  text(): string {
    const all: string[] = [];
    for (const { name, help, type, lines } of this.#families.map((f) => ({
      ...describe(f),
      lines: () => f.lines(),
    })))
      all.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines());
    return `${all.join("\n")}\n`;
  }
}

function describe({ name, help, type }: Family): Pick<Family, "name" | "help" | "type"> {
  return { name, help, type };
}

export class Counter implements Family {
  readonly type = "counter";
  readonly name: string;
  readonly help: string;
  readonly #values = new Map<string, number>();

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  add(labels: Labels, count = 1): void {
    const key = inBraces(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + count);
  }

  *lines(): Iterable<string> {
    for (const [labels, value] of this.#values) yield `${this.name}${labels} ${value}`;
  }
}

export class Histogram implements Family {
  readonly type = "histogram";
  readonly name: string;
  readonly help: string;
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, { labels: Labels; counts: number[]; sum: number; count: number }>();

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
  }

  observe(labels: Labels, value: number, times = 1): void {
    const key = inBraces(labels);
    let series = this.#series.get(key);
    if (!series) {
      series = { labels, counts: this.#bounds.map(() => 0), sum: 0, count: 0 };
      this.#series.set(key, series);
    }
    series.sum += value * times;
    series.count += times;
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) series.counts[bucket]! += times;
  }

  *lines(): Iterable<string> {
    for (const { labels, counts, sum, count } of this.#series.values()) {
      let below = 0;
      for (const [i, bound] of this.#bounds.entries()) {
        below += counts[i]!;
        yield `${this.name}_bucket${inBraces({ ...labels, le: String(bound) })} ${below}`;
      }
      yield `${this.name}_bucket${inBraces({ ...labels, le: "+Inf" })} ${count}`;
      yield `${this.name}_sum${inBraces(labels)} ${sum}`;
      yield `${this.name}_count${inBraces(labels)} ${count}`;
    }
  }
}

function inBraces(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}
