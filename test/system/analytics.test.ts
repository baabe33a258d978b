// `skerry analytics import` and `query` as a user runs them, against totals counted by other means.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { startPostgres, type TestPostgres } from '../harness.ts';
import { skerry } from '../skerry.ts';

const DATA = join(
  process.env['SKERRY_DATA_DIR'] ?? join(import.meta.dir, '../../../shared/data'),
  'apache-access.log.gz',
);

let postgres: TestPostgres;
let folder: string;
let databases = 0;

beforeAll(async () => {
  postgres = await startPostgres();
  folder = mkdtempSync(join(tmpdir(), 'skerry-analytics-'));
});

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function freshDatabase(): Promise<string> {
  databases += 1;
  await postgres.sql(`CREATE DATABASE analytics_${databases}`);
  return `postgres://postgres@127.0.0.1:${postgres.port}/analytics_${databases}`;
}

interface Answer {
  readonly total: { requests: number; bytes: number; uniques: number; uniquesError: number };
  readonly series: readonly { at: string; requests: number; bytes: number }[];
  readonly by: Record<string, { key: string; requests: number }[]>;
  readonly rows: Record<string, number>;
}

async function run(args: readonly string[], wanted = 0): Promise<string> {
  const result = await skerry(args);
  if (result.code !== wanted) throw new Error(`${args.join(' ')} gave ${result.code}:\n${result.out}${result.err}`);
  return result.out + (wanted === 0 ? '' : result.err);
}

async function importFile(url: string, path: string, ...more: readonly string[]): Promise<Record<string, number>> {
  return JSON.parse(await run(['analytics', 'import', path, '--database-url', url, '--json', ...more])) as Record<
    string,
    number
  >;
}

async function query(url: string, ...more: readonly string[]): Promise<Answer> {
  return JSON.parse(await run(['analytics', 'query', '--database-url', url, '--json', ...more])) as Answer;
}

/** An independent reading of combined lines: by the quotes and blanks of each line, not by our parser. */
function countLines(text: string): {
  requests: number;
  bytes: number;
  clients: Set<string>;
  status: Map<string, number>;
  hours: Map<string, number>;
} {
  const seen = {
    requests: 0,
    bytes: 0,
    clients: new Set<string>(),
    status: new Map<string, number>(),
    hours: new Map<string, number>(),
  };
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const afterRequest = line.slice(line.indexOf('] "') + 3);
    const [status = '', bytes = ''] = afterRequest.slice(afterRequest.search(/" \d{3} (\d+|-)/) + 2).split(' ');
    seen.requests += 1;
    seen.bytes += bytes === '-' ? 0 : Number(bytes);
    seen.clients.add(line.slice(0, line.indexOf(' ')));
    seen.status.set(status, (seen.status.get(status) ?? 0) + 1);
    const [day, month, rest] = line.slice(line.indexOf('[') + 1, line.indexOf(']')).split('/') as [
      string,
      string,
      string,
    ];
    const hour = new Date(`${day} ${month} ${rest.slice(0, 4)} ${rest.slice(5, 13)} ${rest.slice(14)}`)
      .toISOString()
      .slice(0, 13);
    seen.hours.set(hour, (seen.hours.get(hour) ?? 0) + 1);
  }
  return seen;
}

const hasData = existsSync(DATA);
if (!hasData) process.stderr.write(`skipped: ${DATA} is not there (SKERRY_DATA_DIR names its folder)\n`);

test.skipIf(!hasData)(
  'a real log: totals, statuses and hours are what another count says',
  async () => {
    const url = await freshDatabase();
    const expected = countLines(gunzipSync(new Uint8Array(await Bun.file(DATA).arrayBuffer())).toString());
    const result = await importFile(url, DATA);
    expect(result).toMatchObject({ lines: 10_000, events: expected.requests, badLines: 0 });

    const answer = await query(url, '--by', 'status,method', '--step', 'hour');
    expect(answer.total.requests).toBe(expected.requests);
    expect(answer.total.bytes).toBe(expected.bytes);
    expect(Object.fromEntries(answer.by['status']?.map(({ key, requests }) => [key, requests]) ?? [])).toEqual(
      Object.fromEntries(expected.status),
    );
    expect(Object.fromEntries(answer.series.map(({ at, requests }) => [at.slice(0, 13), requests]))).toEqual(
      Object.fromEntries(expected.hours),
    );
    // Within three standard errors of what a set says.
    expect(Math.abs(answer.total.uniques - expected.clients.size)).toBeLessThan(
      3 * answer.total.uniquesError * expected.clients.size,
    );

    // The same from whichever level: minutes alone, and days with minutes at the ends.
    const minutes = await query(url, '--step', 'minute');
    const days = await query(url, '--step', 'day');
    expect(minutes.total).toEqual(answer.total);
    expect(days.total).toEqual(answer.total);
    expect(days.rows['day']).toBeGreaterThan(0);
    expect(minutes.rows['day']).toBe(0);

    const again = await importFile(url, DATA);
    expect(again).toMatchObject({ lines: 0, events: 0 });
    expect((await query(url)).total).toEqual(answer.total);
    await importFile(url, DATA, '--again');
    expect((await query(url)).total).toEqual(answer.total);

    const text = await run(['analytics', 'query', '--database-url', url, '--by', 'status']);
    expect(text).toContain('requests 10,000');
    expect(text).toContain('404');
  },
  120_000,
);

const line = (second: number, path = '/', bytes = 100): string =>
  `10.0.0.${second % 7} - - [01/Jun/2026:10:${String(Math.floor(second / 60) % 60).padStart(2, '0')}:${String(second % 60).padStart(2, '0')} +0200] "GET ${path} HTTP/1.1" 200 ${bytes} "-" "test \\"quoted\\""\n`;

test('a log that grows adds what is new, an unfinished last line waits, and bad lines are counted', async () => {
  const url = await freshDatabase();
  const path = join(folder, 'growing.log');
  writeFileSync(path, `${line(1)}${line(2)}this is no request\n${line(3).slice(0, 40)}`);
  expect(await importFile(url, path)).toMatchObject({ lines: 3, events: 2, badLines: 1 });
  // What could be the whole of a shorter format is waited for too.
  writeFileSync(path, `${line(1)}${line(2)}this is no request\n${line(3, '/', 1234).split(' "-"')[0]?.slice(0, -2)}`);
  expect(await importFile(url, path)).toMatchObject({ lines: 0, events: 0 });
  writeFileSync(path, `${line(1)}${line(2)}this is no request\n${line(3)}${line(4)}`);
  expect(await importFile(url, path)).toMatchObject({ lines: 2, events: 2, badLines: 0 });
  // Packed and moved it is the same log.
  const packed = join(folder, 'packed.log.gz');
  writeFileSync(packed, gzipSync(`${line(1)}${line(2)}this is no request\n${line(3)}${line(4)}${line(5)}`));
  expect(await importFile(url, packed)).toMatchObject({ events: 1 });
  const answer = await query(url);
  expect(answer.total).toMatchObject({ requests: 5, bytes: 500, uniques: 5, uniquesError: 0 });
  // The offset of the log's own clock counts.
  expect(answer.series[0]?.at).toBe('2026-06-01T08:00:00.000Z');
});

test('another log that begins with the same line is refused, and gets a zone of its own', async () => {
  const url = await freshDatabase();
  const [one, two] = [join(folder, 'one.log'), join(folder, 'two.log')] as const;
  writeFileSync(one, `${line(1)}${line(2)}${line(3)}`);
  writeFileSync(two, `${line(1)}${line(4)}${line(5)}${line(6)}`);
  await importFile(url, one);
  expect(await run(['analytics', 'import', two, '--database-url', url], 2)).toContain('is another one');
  writeFileSync(two, line(1));
  expect(await run(['analytics', 'import', two, '--database-url', url], 2)).toContain('is another one');
  writeFileSync(two, `${line(1)}${line(4)}${line(5)}${line(6)}`);
  expect(await importFile(url, two, '--zone', 'two')).toMatchObject({ events: 4 });
  expect((await query(url, '--zone', 'default')).total.requests).toBe(3);
});

test('two imports at once leave nothing out of the hours', async () => {
  const url = await freshDatabase();
  const logs = Array.from({ length: 4 }, (_, which) => {
    const path = join(folder, `parallel-${which}.log`);
    writeFileSync(path, Array.from({ length: 3000 }, (__, second) => line(second, `/${which}`)).join(''));
    return path;
  });
  await run(['analytics', 'import', logs[0] as string, '--database-url', url]);
  await Promise.all(logs.slice(1).map((path, which) => importFile(url, path, '--zone', `z${which}`)));
  for (const zone of ['z0', 'z1', 'z2']) {
    expect((await query(url, '--zone', zone, '--step', 'hour')).total.requests).toBe(3000);
    expect((await query(url, '--zone', zone, '--step', 'minute')).total.requests).toBe(3000);
  }
});

test('JSON lines with their own zones, countries, cache and latency', async () => {
  const url = await freshDatabase();
  const path = join(folder, 'json.log');
  const lines = [
    {
      time: '2026-06-01T00:00:10Z',
      host: 'a.example',
      remote_addr: '1.1.1.1',
      request_method: 'GET',
      status: 200,
      body_bytes_sent: 10,
      request_time: 0.004,
      upstream_cache_status: 'HIT',
      country: 'de',
      colo: 'FRA',
      content_type: 'text/html; charset=utf-8',
    },
    {
      msec: 1780272070.5,
      zone: 'a.example',
      client: '1.1.1.2',
      method: 'POST',
      status: '503',
      bytes: 0,
      latency_ms: 900,
      country: 'FR',
      blocked: true,
    },
    { ts: 1780272080000, host: 'b.example', ip: '1.1.1.1', request: 'PUT /x HTTP/2', status: 201 },
    { time: 'never', status: 200 },
    // What a stranger can make a log say must not stop what comes behind it.
    { ts: 1780272080000, status: 200, host: 'h'.repeat(4000) },
    { ts: 1780272080000, status: 200, host: 'a\u0000b' },
    { ts: 1780272080000, status: 200, bytes: 1e300 },
    { ts: 1e300, status: 200 },
    { ts: 1780272080000, status: 200, content_type: 'x'.repeat(5000) },
  ];
  writeFileSync(path, lines.map((each) => `${JSON.stringify(each)}\n`).join(''));
  expect(await importFile(url, path)).toMatchObject({ events: 3, badLines: 6 });
  const a = await query(url, '--zone', 'a.example', '--by', 'country,colo,method,status,content_type');
  expect(a.total).toMatchObject({ requests: 2, bytes: 10, cached: 1, threats: 1, uniques: 2 });
  expect(a.by).toEqual({
    country: [
      { key: 'DE', requests: 1 },
      { key: 'FR', requests: 1 },
    ],
    colo: [{ key: 'FRA', requests: 1 }],
    method: [
      { key: 'GET', requests: 1 },
      { key: 'POST', requests: 1 },
    ],
    status: [
      { key: '200', requests: 1 },
      { key: '503', requests: 1 },
    ],
    content_type: [{ key: 'text/html', requests: 1 }],
  });
  expect(await run(['analytics', 'query', '--database-url', url], 2)).toContain('there are several zones');
});

test('killed in the middle, an import goes on where it was: nothing is lost and nothing counted twice', async () => {
  const url = await freshDatabase();
  const path = join(folder, 'long.log');
  const count = 60_000;
  // A minute a line: many aggregates, so that it is flushed on the way.
  const parts: string[] = [];
  for (let minute = 0; minute < count; minute += 1) {
    const at = new Date(Date.UTC(2026, 0, 1) + minute * 60_000).toISOString();
    parts.push(`{"time":"${at}","status":200,"bytes":${minute % 10},"ip":"10.0.${minute % 9}.1"}\n`);
  }
  writeFileSync(path, parts.join(''));
  let kills = 0;
  for (let seen = -1; kills < 3; ) {
    const child = Bun.spawn(
      [
        process.execPath,
        join(import.meta.dir, '../../src/cli/main.ts'),
        'analytics',
        'import',
        path,
        '--database-url',
        url,
      ],
      { stdout: 'ignore', stderr: 'ignore' },
    );
    for (;;) {
      const offset = await postgres
        .value('SELECT next_offset FROM skerry_analytics.source', new URL(url).pathname.slice(1))
        .catch(() => null);
      if (offset !== null && Number(offset) > seen) {
        seen = Number(offset);
        break;
      }
      if (child.exitCode !== null) break;
      await Bun.sleep(5);
    }
    child.kill('SIGKILL');
    await child.exited;
    kills += 1;
  }
  await importFile(url, path);
  const { total } = await query(url, '--step', 'day');
  expect(total).toMatchObject({ requests: count, bytes: (count / 10) * 45, uniques: 9 });
  expect(
    await postgres.value('SELECT sum(requests) FROM skerry_analytics.http_1m', new URL(url).pathname.slice(1)),
  ).toBe(String(count));
}, 120_000);

test('what cannot be taken in is said in one sentence', async () => {
  const url = await freshDatabase();
  const cut = join(folder, 'cut.log.gz');
  const whole = gzipSync(Array.from({ length: 50_000 }, (_, second) => line(second, `/${Math.sin(second)}`)).join(''));
  writeFileSync(cut, whole.subarray(0, whole.length / 2));
  expect(await run(['analytics', 'import', cut, '--database-url', url], 2)).toContain('cannot be unpacked to its end');
  writeFileSync(cut, whole);
  await importFile(url, cut);
  expect((await query(url)).total.requests).toBe(50_000);

  const binary = join(folder, 'binary');
  writeFileSync(binary, crypto.getRandomValues(new Uint8Array(20_000)));
  expect(await run(['analytics', 'import', binary, '--database-url', url], 2)).toContain('access log');
  writeFileSync(binary, '');
  expect(await run(['analytics', 'import', binary, '--database-url', url], 2)).toContain('is empty');
  expect(await run(['analytics', 'import', join(folder, 'nowhere'), '--database-url', url], 2)).toContain(
    'cannot read',
  );
  expect(await run(['analytics', 'query', '--database-url', url, '--by', 'colour'], 2)).toContain(
    'no dimension "colour"',
  );
  expect(await run(['analytics', 'query', '--database-url', url, '--from', 'yesterday'], 2)).toContain('is no time');
  expect(await run(['analytics', 'query', '--database-url', await freshDatabase()], 2)).toContain(
    'nothing was taken in yet',
  );
  expect(await run(['analytics', 'query', '--dir', join(folder, 'no-world')], 2)).toContain('no database was named');
}, 120_000);
