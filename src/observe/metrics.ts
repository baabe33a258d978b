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

export type Labels = Readonly<Record<string, string>>;

interface Series {
  readonly labels: Labels;
  readonly metric: Counter | Gauge | Histogram;
  readonly read: (() => number) | undefined;
}

/** One series of one process as data, to be added up with those of other processes. */
export interface MetricSnapshot {
  readonly name: string;
  readonly kind: MetricKind;
  readonly help: string;
  readonly labels: Labels;
  /** Counters and gauges. */
  readonly value: number;
  /** Histograms: counts per bucket (not cumulative), one more than there are bounds. */
  readonly histogram: {
    readonly bounds: readonly number[];
    readonly counts: readonly number[];
    readonly sum: number;
  } | null;
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

  /** A counter that somebody else keeps; read at scrape. */
  counterOf(declaration: MetricDeclaration, labels: Labels, read: () => number): void {
    this.#series(declaration, labels, () => new Counter(), read);
  }

  /** Prometheus text format 0.0.4. */
  render(): string {
    return renderSnapshots(this.snapshot());
  }

  snapshot(): MetricSnapshot[] {
    return [...this.#families.values()].flatMap(({ declaration, series }) =>
      [...series.values()].map((one) => snapshotOf(declaration, one)),
    );
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

function snapshotOf({ name, kind, help }: MetricDeclaration, { labels, metric, read }: Series): MetricSnapshot {
  if (!(metric instanceof Histogram)) {
    return { name, kind, help, labels, value: read === undefined ? metric.value : read(), histogram: null };
  }
  const { bounds, counts, sum } = metric;
  return { name, kind, help, labels, value: 0, histogram: { bounds, counts: [...counts], sum } };
}

/** Series of the same name and labels become one: the sum, also of gauges and of each bucket. */
export function sumSnapshots(processes: readonly (readonly MetricSnapshot[])[]): MetricSnapshot[] {
  const sums = new Map<string, MetricSnapshot>();
  for (const one of processes.flat()) {
    const key = one.name + labelText(one.labels);
    const known = sums.get(key);
    sums.set(key, known === undefined ? one : added(known, one));
  }
  return [...sums.values()];
}

function added(a: MetricSnapshot, b: MetricSnapshot): MetricSnapshot {
  if (a.histogram === null || b.histogram === null) return { ...a, value: a.value + b.value };
  const counts = a.histogram.counts.map((count, index) => count + (b.histogram?.counts[index] ?? 0));
  return { ...a, histogram: { ...a.histogram, counts, sum: a.histogram.sum + b.histogram.sum } };
}

/** Prometheus text format 0.0.4. */
export function renderSnapshots(snapshots: readonly MetricSnapshot[]): string {
  const families = new Map<string, MetricSnapshot[]>();
  for (const one of snapshots) {
    const family = families.get(one.name);
    if (family === undefined) families.set(one.name, [one]);
    else family.push(one);
  }
  const lines: string[] = [];
  for (const [name, series] of families) {
    const { help, kind } = series[0] as MetricSnapshot;
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
    for (const one of series) renderSeries(lines, one);
  }
  return `${lines.join('\n')}\n`;
}

function renderSeries(lines: string[], { name, labels, value, histogram }: MetricSnapshot): void {
  if (histogram === null) {
    lines.push(`${name}${labelText(labels)} ${value}`);
    return;
  }
  let cumulative = 0;
  histogram.counts.forEach((count, index) => {
    cumulative += count;
    const bound = histogram.bounds[index];
    lines.push(
      `${name}_bucket${labelText({ ...labels, le: bound === undefined ? '+Inf' : String(bound) })} ${cumulative}`,
    );
  });
  lines.push(`${name}_sum${labelText(labels)} ${histogram.sum}`, `${name}_count${labelText(labels)} ${cumulative}`);
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([key, value]) => `${key}="${escapeLabel(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
