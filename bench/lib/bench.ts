// What a bench is: it measures figures, each with its target and, where there is one, a baseline taken in the same run.

/** One bench of `npm run bench -- NAME`. */
export interface Bench {
  readonly name: string;
  /** One line for the list. */
  readonly help: string;
  run(context: BenchContext): Promise<readonly Figure[]>;
}

export interface BenchContext {
  /** Smaller loads: shows that the bench works and roughly where the figures lie. */
  readonly quick: boolean;
  /** Whether the Postgres servers flush (fsync, full_page_writes); the same on both sides of each comparison. */
  readonly fsync: boolean;
  /** Keep the folder with logs and data, and say where it is. */
  readonly keep: boolean;
  /** Set by `--profile`: roles write a CPU profile here when they stop. */
  readonly profileDir: string | null;
  /** A condition of the measurement, printed under the table and in the JSON. */
  note(text: string): void;
  /** What is happening now; to stderr, so that `--json` stays clean. */
  progress(text: string): void;
}

export type Unit = 'ms' | 'rows/s' | 'tx/s' | 'reads/s' | 'MB' | 'kB' | 'count' | 's' | 'x' | 'µs';

/** What to reach. `ratio` compares with the baseline of the same run. */
export type Target =
  | { readonly kind: 'at-most'; readonly value: number }
  | { readonly kind: 'at-least'; readonly value: number }
  | { readonly kind: 'ratio-at-least'; readonly value: number }
  | { readonly kind: 'ratio-at-most'; readonly value: number };

export interface Figure {
  readonly name: string;
  readonly unit: Unit;
  readonly measured: number;
  readonly baseline?: { readonly name: string; readonly value: number };
  /** A figure without one is there to explain the others. */
  readonly target?: Target;
}

export type Verdict = 'pass' | 'miss' | 'info';

/** measured / baseline, or null without a baseline. */
export function ratioOf(figure: Figure): number | null {
  return figure.baseline === undefined ? null : figure.measured / figure.baseline.value;
}

/** Whether the figure reaches its target; a figure that could not be measured (NaN) misses. */
export function verdictOf(figure: Figure): Verdict {
  const { target, measured } = figure;
  if (target === undefined) return 'info';
  switch (target.kind) {
    case 'at-most':
      return measured <= target.value ? 'pass' : 'miss';
    case 'at-least':
      return measured >= target.value ? 'pass' : 'miss';
    case 'ratio-at-least':
      return (ratioOf(figure) ?? Number.NaN) >= target.value ? 'pass' : 'miss';
    case 'ratio-at-most':
      return (ratioOf(figure) ?? Number.NaN) <= target.value ? 'pass' : 'miss';
  }
}
