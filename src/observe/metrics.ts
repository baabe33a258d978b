// Counters, gauges and histograms at hot-path cost (a property increment), exported in Prometheus' text format at scrape.
// Every metric is declared once in `names.ts`.

export type MetricKind = 'counter' | 'gauge' | 'histogram';

export interface MetricDeclaration {
  readonly name: string;
  readonly kind: MetricKind;
  readonly help: string;
  /** Upper bounds of the buckets, ascending; histograms only. */
  readonly buckets?: readonly number[];
}

export class Counter {
  value = 0;
  inc(by = 1): void {
    this.value += by;
  }
}

export class Gauge {
  value = 0;
  set(value: number): void {
    this.value = value;
  }
}

export class Histogram {
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let index = 0;
    while (index < this.bounds.length && value > (this.bounds[index] as number)) index += 1;
    this.counts[index] = (this.counts[index] as number) + 1;
    this.sum += value;
    this.count += 1;
  }
}

type Labels = Readonly<Record<string, string>>;

interface Series {
  readonly labels: Labels;
  readonly metric: Counter | Gauge | Histogram;
  readonly read: (() => number) | undefined;
}

/** All metrics of one process. Asking twice for the same name and labels gives the same object. */
export class Metrics {
  readonly #families = new Map<string, { declaration: MetricDeclaration; series: Map<string, Series> }>();

  counter(declaration: MetricDeclaration, labels: Labels = {}): Counter {
    return this.#series(declaration, labels, () => new Counter()) as Counter;
  }

  gauge(declaration: MetricDeclaration, labels: Labels = {}): Gauge {
    return this.#series(declaration, labels, () => new Gauge()) as Gauge;
  }

  /** A gauge whose value is computed at scrape. */
  gaugeOf(declaration: MetricDeclaration, labels: Labels, read: () => number): void {
    this.#series(declaration, labels, () => new Gauge(), read);
  }

  histogram(declaration: MetricDeclaration, labels: Labels = {}): Histogram {
    return this.#series(declaration, labels, () => new Histogram(declaration.buckets ?? [])) as Histogram;
  }

  /** Prometheus text format 0.0.4. */
  render(): string {
    const lines: string[] = [];
    for (const { declaration, series } of this.#families.values()) {
      lines.push(`# HELP ${declaration.name} ${declaration.help}`, `# TYPE ${declaration.name} ${declaration.kind}`);
      for (const one of series.values()) renderSeries(lines, declaration.name, one);
    }
    return `${lines.join('\n')}\n`;
  }

  #series(
    declaration: MetricDeclaration,
    labels: Labels,
    make: () => Counter | Gauge | Histogram,
    read?: () => number,
  ): Counter | Gauge | Histogram {
    let family = this.#families.get(declaration.name);
    if (family === undefined) {
      family = { declaration, series: new Map() };
      this.#families.set(declaration.name, family);
    }
    const key = labelText(labels);
    let series = family.series.get(key);
    if (series === undefined) {
      series = { labels, metric: make(), read };
      family.series.set(key, series);
    }
    return series.metric;
  }
}

function renderSeries(lines: string[], name: string, series: Series): void {
  const { metric, labels } = series;
  if (!(metric instanceof Histogram)) {
    lines.push(`${name}${labelText(labels)} ${series.read === undefined ? metric.value : series.read()}`);
    return;
  }
  let cumulative = 0;
  metric.counts.forEach((count, index) => {
    cumulative += count;
    const bound = metric.bounds[index];
    lines.push(
      `${name}_bucket${labelText({ ...labels, le: bound === undefined ? '+Inf' : String(bound) })} ${cumulative}`,
    );
  });
  lines.push(`${name}_sum${labelText(labels)} ${metric.sum}`, `${name}_count${labelText(labels)} ${metric.count}`);
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([key, value]) => `${key}="${escapeLabel(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
