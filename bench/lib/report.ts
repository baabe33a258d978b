// Figures for people (a small table) and for programs (one JSON object).

import { type Figure, ratioOf, type Target, type Unit, verdictOf } from './bench.ts';

export interface Report {
  readonly bench: string;
  readonly figures: readonly Figure[];
  readonly notes: readonly string[];
  /** Seconds the whole bench took. */
  readonly seconds: number;
}

/** The table, its notes below. */
export function renderTable(report: Report): string {
  const rows = [['figure', 'measured', 'baseline', 'ratio', 'target', ''], ...report.figures.map(rowOf)];
  const widths = (rows[0] as string[]).map((_, column) =>
    Math.max(...rows.map((row) => Bun.stringWidth(row[column] ?? ''))),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column] as number, column))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  const notes = report.notes.map((note) => `  ${note}`);
  return [`${report.bench} (${report.seconds.toFixed(0)} s)`, '', ...lines, '', ...notes].join('\n');
}

/** The same facts as one JSON object. */
export function renderJson(report: Report): string {
  return JSON.stringify({
    bench: report.bench,
    seconds: Number(report.seconds.toFixed(1)),
    figures: report.figures.map((figure) => ({ ...figure, ratio: ratioOf(figure), verdict: verdictOf(figure) })),
    notes: report.notes,
  });
}

function rowOf(figure: Figure): string[] {
  const ratio = ratioOf(figure);
  const baseline =
    figure.baseline === undefined ? '' : `${format(figure.baseline.value, figure.unit)} (${figure.baseline.name})`;
  return [
    figure.name,
    format(figure.measured, figure.unit),
    baseline,
    ratio === null ? '' : `${ratio.toFixed(2)}x`,
    figure.target === undefined ? '' : describeTarget(figure.target, figure.unit),
    verdictOf(figure) === 'info' ? '' : verdictOf(figure),
  ];
}

function describeTarget(target: Target, unit: Unit): string {
  switch (target.kind) {
    case 'at-most':
      return `<= ${format(target.value, unit)}`;
    case 'at-least':
      return `>= ${format(target.value, unit)}`;
    case 'ratio-at-least':
      return `>= ${target.value}x`;
    case 'ratio-at-most':
      return `<= ${target.value}x`;
  }
}

/** A number with its unit, with as many digits as one reads. */
export function format(value: number, unit: Unit): string {
  if (Number.isNaN(value)) return 'not measured';
  const digits = unit === 'ms' || unit === 's' || unit === 'x' || unit === 'µs' || unit === 'kB' ? 2 : 0;
  const text = value.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
  return unit === 'count' ? text : `${text} ${unit}`;
}

// The first column is a name, the last a word; what is between are numbers and reads better to the right.
const pad = (cell: string, width: number, column: number): string =>
  column === 0 || column === 5 ? cell.padEnd(width) : cell.padStart(width);
