import { expect, test } from 'bun:test';
import { createLog } from './log.ts';
import { Metrics } from './metrics.ts';

test('metrics render in the Prometheus text format, histograms cumulatively, labels escaped', () => {
  const metrics = new Metrics();
  metrics.counter({ name: 'c_total', kind: 'counter', help: 'Counts.' }, { why: 'a"b\\c\n' }).inc(2);
  const histogram = metrics.histogram({ name: 'h_seconds', kind: 'histogram', help: 'Times.', buckets: [0.1, 1] });
  for (const value of [0.05, 0.1, 0.5, 7]) histogram.observe(value);
  metrics.gaugeOf({ name: 'g', kind: 'gauge', help: 'Now.' }, {}, () => 42);
  expect(metrics.render()).toBe(
    `${[
      '# HELP c_total Counts.',
      '# TYPE c_total counter',
      'c_total{why="a\\"b\\\\c\\n"} 2',
      '# HELP h_seconds Times.',
      '# TYPE h_seconds histogram',
      'h_seconds_bucket{le="0.1"} 2',
      'h_seconds_bucket{le="1"} 3',
      'h_seconds_bucket{le="+Inf"} 4',
      'h_seconds_sum 7.65',
      'h_seconds_count 4',
      '# HELP g Now.',
      '# TYPE g gauge',
      'g 42',
    ].join('\n')}\n`,
  );
});

test('asking twice for a metric gives the same one', () => {
  const metrics = new Metrics();
  const declaration = { name: 'c_total', kind: 'counter', help: 'Counts.' } as const;
  metrics.counter(declaration).inc();
  expect(metrics.counter(declaration).value).toBe(1);
});

test('log lines are JSON or text, below the level nothing is written, bound fields come along', () => {
  const lines: string[] = [];
  const sink = (line: string): void => {
    lines.push(line);
  };
  const wall = (): number => 0;
  const json = createLog({ level: 'info', format: 'json', wall, sink }).with({ role: 'edge' });
  json.debug('edge.quiet');
  json.warn('edge.behind', { lag: 5n, message: 'two seconds behind' });
  createLog({ level: 'info', format: 'text', wall, sink }).info('edge.ready', { message: 'serving', port: 1 });
  expect(lines).toEqual([
    '{"at":"1970-01-01T00:00:00.000Z","level":"warn","event":"edge.behind","role":"edge","lag":"5","message":"two seconds behind"}',
    '1970-01-01T00:00:00.000Z INFO  edge.ready serving port=1',
  ]);
});
