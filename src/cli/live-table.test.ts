import { describe, expect, test } from 'bun:test';
import type { RoleStatus } from '../contracts/health.ts';
import { type ProxyRow, type Row, tableLines, tableSentence } from './live-table.ts';

const STATUS: RoleStatus = {
  role: 'edge',
  name: 'edge-0',
  pid: 1,
  version: '0.1.0',
  state: 'streaming',
  reason: '',
  epoch: { systemId: '1', timeline: 1 },
  position: '0/16B3748',
  upstreamPosition: '0/16B3748',
  lagMs: 1.25,
  lagBytes: 0,
  rows: 1_234_567,
  tables: 3,
  answered: { local: 0, forwarded: 0 },
  subscribers: [],
};

function row(change: Partial<RoleStatus> | null, more: Partial<Row> = {}): Row {
  const status = change === null ? null : { ...STATUS, ...change };
  return {
    name: 'edge-0',
    url: 'postgres://a@127.0.0.1:6500/a',
    status,
    reason: 'no answer',
    answersPerSecond: 12.6,
    restarts: 0,
    ...more,
  };
}

const proxy: ProxyRow = {
  url: 'postgres://a@127.0.0.1:6432/a',
  status: { state: 'serving', clients: 12, waiting: 0, queriesPerSecond: 1234.4 },
  reason: '',
  restarts: 0,
};

describe('the live table', () => {
  test('has a line for the core and one for each place, with numbers to the right', () => {
    expect(
      tableLines(
        { corePosition: '0/16B4748', proxy, rows: [row({}), row(null, { name: 'edge-1', restarts: 2 })] },
        200,
      ),
    ).toEqual([
      '                       state      position    behind     lag       rows  answers/s  address',
      'core                   serving    0/16B4748',
      'proxy                  serving    12 clients                                 1,234  postgres://a@127.0.0.1:6432/a',
      'edge-0                 streaming  0/16B3748   4096 B  1.3 ms  1,234,567         13  postgres://a@127.0.0.1:6500/a',
      'edge-1 (restarted 2×)  away                                                         no answer',
    ]);
  });

  test.each([40, 41, 80])('is never wider than %i columns', (columns) => {
    const lines = tableLines({ corePosition: null, proxy, rows: [row({}), row(null)] }, columns);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
  });

  test.each([
    [0, '0 ms'],
    [9.94, '9.9 ms'],
    [1234.4, '1234 ms'],
    [65_000, '65 s'],
    [null as unknown as number, ''], // Infinity in JSON: it never was equal to its upstream.
  ])('lag %p is shown as %p', (lagMs, text) => {
    expect(tableSentence({ corePosition: '0/1', proxy, rows: [row({ lagMs }, { answersPerSecond: null })] })).toBe(
      `core 0/1 | proxy 12 clients 1234/s | edge-0 0/16B3748 lag ${text} rows 1234567`,
    );
  });

  test('says in one line who is away', () => {
    const away = { ...proxy, status: null, reason: 'killed' };
    expect(tableSentence({ corePosition: null, proxy: away, rows: [row(null)] })).toBe(
      'core away | proxy away (killed) | edge-0 away (no answer)',
    );
  });
});
