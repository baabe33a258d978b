// `skerry analytics`: what the edge served. `import` takes access logs in, `query` answers, `roll` brings hours and days up to date.

import { Command, Option } from 'commander';
import { STEP_MS, type Step, stepFor } from '../../analytics/query.ts';
import { DIMENSIONS, type Dimension } from '../../analytics/event.ts';
import { Fault } from '../../base/fault.ts';
import type { Config } from '../../config/options.ts';
import { analyticsZones, askAnalytics, importLogFile, type LogImport, rollUp } from '../../roles/analytics.ts';
import { readWorldSecrets } from '../../roles/status.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { EXIT, makeCommand } from '../command.ts';

const WHERE = { groups: ['core', 'up'], only: ['databaseUrl', 'dir'] } as const;

/** The database that was named, else the core of the world in the folder. */
function databaseOf(config: Config): string {
  if (config.core.databaseUrl !== '') return config.core.databaseUrl;
  try {
    return readWorldSecrets(absolutePath(config.up.dir)).coreUrl;
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'not-running') throw error;
    throw new Fault('database-missing', {
      message: `no database was named, and no skerry is running in ${absolutePath(config.up.dir)}`,
      hint: 'give --database-url postgres://…, or start one with `skerry up`',
    });
  }
}

const importCommand = makeCommand({
  name: 'import',
  summary:
    'Take an access log in (combined or JSON format, plain or gzipped). What was taken in before is not counted twice.',
  ...WHERE,
  argument: { name: '<file>', help: 'the log' },
  own: [
    new Option('--zone <name>', 'Zone of lines that name none (combined format never does).').default('default'),
    new Option('--again', 'Forget what came from this log before, and take all of it in anew.'),
  ],
  async action({ config, json, own }) {
    const path = absolutePath(String(own['argument']));
    const bar = new ProgressBar(json);
    const result = await importLogFile(
      databaseOf(config),
      path,
      { zone: String(own['zone']), again: own['again'] === true },
      (now) => bar.show(now.readBytes / Math.max(1, now.sizeBytes), `${now.events.toLocaleString('en')} requests`),
    );
    bar.end();
    terminal.write(json ? `${JSON.stringify(plain(result))}\n` : sentences(result));
    return EXIT.ok;
  },
});

const queryCommand = makeCommand({
  name: 'query',
  summary:
    'What a zone served: requests, bytes, cached, unique visitors, and by country, status, data centre, method or content type.',
  ...WHERE,
  own: [
    new Option('--zone <name>', 'Zone; needed when there is more than one.'),
    new Option('--from <time>', 'From this time (ISO, or 7d, 12h, 30m ago); default: the zone’s first request.'),
    new Option('--to <time>', 'Up to this time, exclusive; default: after its last.'),
    new Option('--by <dimensions>', `Counts by these, separated by commas: ${DIMENSIONS.join(', ')}.`),
    new Option('--step <step>', 'Length of one line: minute, hour or day; default: what fits the range.'),
  ],
  async action({ config, json, own }) {
    const url = databaseOf(config);
    const zones = await analyticsZones(url);
    const zone = zoneOf(own['zone'], zones);
    const fromMs = timeOf('--from', own['from'], zone.toMs) ?? zone.fromMs;
    const toMs = timeOf('--to', own['to'], zone.toMs) ?? zone.toMs;
    if (fromMs >= toMs) throw new Fault('config-value', { message: '--from must be before --to' });
    const step = stepOf(own['step']) ?? stepFor(fromMs, toMs);
    const answer = await askAnalytics(url, { zone: zone.zone, fromMs, toMs, step }, dimensionsOf(own['by']));
    if (json) {
      terminal.write(`${JSON.stringify(answer)}\n`);
      return EXIT.ok;
    }
    const { total } = answer;
    const lines = [
      `${answer.zone}  ${answer.from} to ${answer.to}, by ${step}`,
      `requests ${total.requests.toLocaleString('en')}  bytes ${total.bytes.toLocaleString('en')}  cached ${percent(total.cached, total.requests)}  threats ${total.threats}  ` +
        `visitors ${total.uniques.toLocaleString('en')}${total.uniquesError === 0 ? '' : ` ± ${(100 * total.uniquesError).toFixed(1)} %`}` +
        (total.latencyP50 === null
          ? ''
          : `  latency p50 ${total.latencyP50.toFixed(0)} ms, p99 ${total.latencyP99?.toFixed(0)} ms`),
      '',
      ...table(
        ['from', 'requests', 'bytes', 'visitors'],
        answer.series.map(({ at, requests, bytes, uniques }) => [
          at.slice(0, step === 'day' ? 10 : 16).replace('T', ' '),
          requests.toLocaleString('en'),
          bytes.toLocaleString('en'),
          uniques.toLocaleString('en'),
        ]),
      ),
    ];
    for (const [dimension, counts] of Object.entries(answer.by)) {
      lines.push(
        '',
        ...table(
          [dimension, 'requests', ''],
          counts
            .slice(0, TOP)
            .map(({ key, requests }) => [key, requests.toLocaleString('en'), percent(requests, total.requests)]),
        ),
      );
      if (counts.length > TOP) lines.push(`… and ${counts.length - TOP} more (--json has all)`);
    }
    terminal.write(`${lines.join('\n')}\n`);
    return EXIT.ok;
  },
});

const rollCommand = makeCommand({
  name: 'roll',
  summary: 'Bring hours and days up to date with the minutes that changed.',
  ...WHERE,
  async action({ config, json }) {
    const hours = await rollUp(databaseOf(config));
    terminal.write(json ? `${JSON.stringify({ hours })}\n` : `${hours} hours rolled up\n`);
    return EXIT.ok;
  },
});

export const analyticsCommand = new Command('analytics')
  .summary('What the edge served: take access logs in, ask.')
  .description('What the edge served: take access logs in, ask.')
  .addCommand(importCommand)
  .addCommand(queryCommand)
  .addCommand(rollCommand);

/** Keys of a dimension that are shown. */
const TOP = 10;

const BAR_CHARS = 30;

/** A bar that is drawn over itself on a terminal, a line each tenth elsewhere; nothing with --json. */
class ProgressBar {
  readonly #quiet: boolean;
  #tenths = 0;
  #drawn = '';

  constructor(quiet: boolean) {
    this.#quiet = quiet;
  }

  show(part: number, what: string): void {
    if (this.#quiet) return;
    const percentText = `${String(Math.floor(100 * Math.min(1, part))).padStart(3)} %`;
    if (terminal.isTty) {
      const full = Math.round(BAR_CHARS * Math.min(1, part));
      const line = `[${'#'.repeat(full)}${' '.repeat(BAR_CHARS - full)}] ${percentText}  ${what}`;
      if (line === this.#drawn) return;
      this.#drawn = line;
      terminal.writeError(`\r${line.slice(0, terminal.columns() - 1)}\x1b[K`);
      return;
    }
    const tenths = Math.floor(10 * part);
    if (tenths <= this.#tenths) return;
    this.#tenths = tenths;
    terminal.writeError(`${percentText}  ${what}\n`);
  }

  end(): void {
    if (this.#drawn !== '') terminal.writeError('\r\x1b[K');
  }
}

function sentences(result: LogImport): string {
  const { events, lines, badLines, badSamples, skippedBytes, zones, firstMs, lastMs, hoursRolled, seconds } = result;
  const text: string[] = [];
  if (lines === 0 && skippedBytes > 0)
    text.push('nothing new: this log was taken in before (--again takes it in anew)');
  else {
    text.push(
      `${events.toLocaleString('en')} requests of ${lines.toLocaleString('en')} lines in ${seconds.toFixed(1)} s, ${hoursRolled} hours rolled up`,
    );
  }
  if (firstMs !== null && lastMs !== null) {
    text.push(`from ${new Date(firstMs).toISOString()} to ${new Date(lastMs).toISOString()}`);
  }
  if (zones.size > 0) {
    const list = [...zones].sort((a, b) => b[1] - a[1]).slice(0, TOP);
    text.push(
      `zones: ${list.map(([zone, count]) => `${zone} (${count.toLocaleString('en')})`).join(', ')}${zones.size > TOP ? ', …' : ''}`,
    );
  }
  if (badLines > 0) {
    text.push(`${badLines.toLocaleString('en')} lines were no requests:`);
    for (const { line, why, text: sample } of badSamples) text.push(`  line ${line}: ${why}: ${sample}`);
  }
  if (events > 0) text.push('ask with: skerry analytics query --by status,method');
  return `${text.join('\n')}\n`;
}

function plain(result: LogImport): object {
  return { ...result, zones: Object.fromEntries(result.zones) };
}

function zoneOf(
  given: unknown,
  zones: readonly { readonly zone: string; readonly fromMs: number; readonly toMs: number }[],
): { readonly zone: string; readonly fromMs: number; readonly toMs: number } {
  const names = zones.map(({ zone }) => zone).slice(0, TOP);
  const found = given === undefined && zones.length === 1 ? zones[0] : zones.find(({ zone }) => zone === given);
  if (found !== undefined) return found;
  if (zones.length === 0) {
    throw new Fault('analytics-empty', {
      message: 'nothing was taken in yet',
      hint: 'begin with `skerry analytics import access.log`',
    });
  }
  throw new Fault('config-value', {
    message: given === undefined ? 'there are several zones' : `there is no zone ${JSON.stringify(given)}`,
    hint: `--zone is one of ${names.join(', ')}${zones.length > TOP ? ', …' : ''}`,
  });
}

const UNITS: Readonly<Record<string, number>> = { m: STEP_MS.minute, h: STEP_MS.hour, d: STEP_MS.day };

/** `7d` counts back from the end of what there is. */
function timeOf(flag: string, given: unknown, endMs: number): number | null {
  if (given === undefined) return null;
  const text = textOf(given);
  const ago = /^(\d{1,6})([mhd])$/.exec(text);
  if (ago !== null) return endMs - Number(ago[1]) * (UNITS[ago[2] as string] as number);
  const ms = Date.parse(text);
  if (!Number.isNaN(ms)) return ms;
  throw new Fault('config-value', {
    message: `${flag}: "${text}" is no time`,
    hint: 'give 2026-01-31, 2026-01-31T12:00Z, or 7d, 12h, 30m',
  });
}

function stepOf(given: unknown): Step | null {
  if (given === undefined) return null;
  if (given === 'minute' || given === 'hour' || given === 'day') return given;
  throw new Fault('config-value', { message: `--step: ${JSON.stringify(given)} is not minute, hour or day` });
}

function dimensionsOf(given: unknown): Dimension[] {
  if (given === undefined) return [];
  return textOf(given)
    .split(',')
    .map((word) => {
      const found = DIMENSIONS.find((dimension) => dimension === word.trim());
      if (found !== undefined) return found;
      throw new Fault('config-value', {
        message: `--by: there is no dimension "${word.trim()}"`,
        hint: `one of ${DIMENSIONS.join(', ')}`,
      });
    });
}

/** Commander gives texts; anything else is nothing. */
function textOf(given: unknown): string {
  return typeof given === 'string' ? given : '';
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '0 %' : `${((100 * part) / whole).toFixed(1)} %`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, index) => Math.max(title.length, ...rows.map((row) => (row[index] ?? '').length)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, index) =>
        index === 0 ? cell.padEnd(widths[index] as number) : cell.padStart(widths[index] as number),
      )
      .join('  ')
      .trimEnd(),
  );
}
