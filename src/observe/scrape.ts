// Reads what `metrics.ts` writes: Prometheus' text format, and what two readings of it say together. Pure.

/** One reading: values by name and labels, histograms under the names of their parts. */
export interface Scrape {
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

/** Lines that are none are left out: a page that is no metrics gives an empty reading. */
export function parseMetrics(text: string): Scrape {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const found = line.startsWith('#') ? null : LINE.exec(line);
    if (found === null) continue;
    const [, name = '', labelText = '', valueText = ''] = found;
    const value = valueText === '+Inf' ? Number.POSITIVE_INFINITY : Number(valueText);
    if (Number.isNaN(value)) continue;
    const labels: Record<string, string> = {};
    for (const [, key = '', text = ''] of labelText.matchAll(LABEL)) labels[key] = unescape(text);
    samples.push({ name, labels, value });
  }
  return { samples };
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character));
}

function matches(sample: Sample, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(labels).every(([key, value]) => sample.labels[key] === value);
}

/** Sum over all series that have these labels. */
export function valueOf({ samples }: Scrape, name: string, labels: Readonly<Record<string, string>> = {}): number {
  let sum = 0;
  for (const sample of samples) if (sample.name === name && matches(sample, labels)) sum += sample.value;
  return sum;
}

/** Different values of a label among the series of a name. */
export function labelValues({ samples }: Scrape, name: string, label: string): string[] {
  return [...new Set(samples.flatMap((one) => (one.name === name ? [one.labels[label] ?? ''] : [])))];
}

/** Per second between two readings; never negative: a process that was restarted counts from nothing. */
export function ratePerSecond(
  { before, now, seconds }: Pair,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const grown = valueOf(now, name, labels) - valueOf(before, name, labels);
  return seconds <= 0 ? 0 : Math.max(0, grown / seconds);
}

export interface Pair {
  readonly before: Scrape;
  readonly now: Scrape;
  readonly seconds: number;
}

/**
 * Which value `fraction` of the observations between two readings stayed below, in the histogram's unit; within a bucket evenly
 * spread. Null when there were none; infinite when it lies in the last bucket.
 */
export function quantileBetween(
  { before, now }: Pair,
  name: string,
  fraction: number,
  labels: Readonly<Record<string, string>> = {},
): number | null {
  const counts = new Map<number, number>();
  const add = (scrape: Scrape, sign: number): void => {
    for (const sample of scrape.samples) {
      if (sample.name !== `${name}_bucket` || !matches(sample, labels)) continue;
      const le = sample.labels['le'] ?? '';
      const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
      counts.set(bound, (counts.get(bound) ?? 0) + sign * sample.value);
    }
  };
  add(now, 1);
  add(before, -1);
  const bounds = [...counts.keys()].sort((a, b) => a - b);
  const total = counts.get(Number.POSITIVE_INFINITY) ?? 0;
  if (total <= 0) return null;
  const wanted = total * fraction;
  let [low, lowCount] = [0, 0];
  for (const bound of bounds) {
    const count = counts.get(bound) ?? 0;
    if (count >= wanted) {
      if (bound === Number.POSITIVE_INFINITY || count === lowCount) return bound;
      return low + ((bound - low) * (wanted - lowCount)) / (count - lowCount);
    }
    [low, lowCount] = [bound, count];
  }
  return Number.POSITIVE_INFINITY;
}
