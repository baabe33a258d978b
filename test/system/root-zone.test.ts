// The main job on real input: 200 versions of the DNS root zone, one transaction each, while relays, edges and the core are
// killed. Readers at every edge keep asking whether what they see is one whole version.

import { expect, test } from 'bun:test';
import { SQL } from 'bun';
import { startPostgres, type TestPostgres } from '../harness.ts';
import { readVersions, readZone, rootZoneFolder, type ZoneRecord, type ZoneVersion, zoneText } from '../root-zone.ts';
import { createWorld, type RoleProcess, until } from '../world.ts';

const SCHEMA = `
  CREATE TABLE record (name text NOT NULL, ttl int NOT NULL, type text NOT NULL, rdata text NOT NULL, PRIMARY KEY (name, type, rdata));
  CREATE TABLE version (id int PRIMARY KEY, n int NOT NULL, at text NOT NULL, records bigint NOT NULL, ttl_sum bigint NOT NULL);
`;

/** One statement, so that its answer is one moment: what the version says of itself, and what is there. */
const WHOLE_VERSION = `
  SELECT v.n, v.records, v.ttl_sum, count(*) AS counted, sum(r.ttl) AS summed
  FROM version v CROSS JOIN record r GROUP BY v.n, v.records, v.ttl_sum`;

const folder = rootZoneFolder();

test.skipIf(folder === null)(
  'INVARIANT_I3: every edge only ever shows whole versions of the root zone, through SIGKILLs of relays, edges and the core',
  async () => {
    const base = readZone(folder as string, 'base');
    const versions = readVersions(folder as string);
    expect(versions.length).toBe(200);

    await using core = await startPostgres();
    await core.sql(SCHEMA);
    await loadBase(core, base);

    await using world = createWorld();
    const relay = await world.relay('relay-1', core);
    await relay.ready();
    const inner = await world.relay('relay-2', relay);
    await inner.ready();
    const edges = [
      await world.edge('edge-1', relay, core.url),
      await world.edge('edge-2', relay, core.url),
      await world.edge('edge-3', inner, core.url),
    ];
    for (const edge of edges) await edge.ready();

    const readers = edges.map((edge) => new Reader(edge));
    await replay(core, base, versions, async (n) => {
      if (n === 30) await killAndRestart(relay);
      if (n === 60) await killAndRestart(edges[1] as RoleProcess);
      if (n === 90) await coreOutage(core, readers);
      if (n === 120) await killAndRestart(inner);
      if (n === 150) await killAndRestart(edges[2] as RoleProcess);
    });
    for (const [index, reader] of readers.entries()) {
      await until(`edge-${index + 1} shows the last version`, async () => reader.seen === versions.length);
      await reader.stop();
      expect(reader.broken).toEqual([]);
      expect(reader.answers).toBeGreaterThan(50);
    }

    const want = zoneText(readZone(folder as string, 'final'));
    for (const edge of edges) {
      await using sql = connect(edge);
      const rows = (await sql`SELECT name, ttl, type, rdata FROM record`) as ZoneRecord[];
      expect(zoneText(rows) === want).toBe(true);
      const answeredBy = (await sql.unsafe('SHOW skerry.answered_by')) as Record<string, string>[];
      expect(Object.values(answeredBy[0] ?? {})[0]).toStartWith('local');
    }
    const sums = await Promise.all(edges.map((edge) => edge.checksum()));
    for (const sum of sums.slice(1)) expect(sum.tables).toEqual(sums[0]?.tables ?? []);
  },
);

async function killAndRestart(role: RoleProcess): Promise<void> {
  await role.kill9();
  await role.start();
}

/** While the core is away every edge goes on answering from what it has. */
async function coreOutage(core: TestPostgres, readers: readonly Reader[]): Promise<void> {
  await core.kill9();
  const before = readers.map((reader) => reader.answers);
  for (const [index, reader] of readers.entries()) {
    await until('an edge answers while the core is away', async () => reader.answers > (before[index] as number) + 3);
  }
  await core.restart();
}

const AS_RECORDS = 'AS r(name text, ttl int, type text, rdata text)';

async function loadBase(core: TestPostgres, base: readonly ZoneRecord[]): Promise<void> {
  await using sql = new SQL(core.url, { max: 1 });
  await sql.unsafe(`INSERT INTO record SELECT * FROM json_to_recordset($1::text::json) ${AS_RECORDS}`, [
    JSON.stringify(base),
  ]);
  await sql`INSERT INTO version SELECT 1, 0, 'base', count(*), sum(ttl) FROM record`;
}

/** Commits one version after the other; after the core's outage on a new connection. */
async function replay(
  core: TestPostgres,
  base: readonly ZoneRecord[],
  versions: readonly ZoneVersion[],
  between: (n: number) => Promise<void>,
): Promise<void> {
  let records = base.length;
  let ttlSum = base.reduce((sum, record) => sum + record.ttl, 0);
  for (const [index, version] of versions.entries()) {
    const n = index + 1;
    for (const { op, record } of version.changes) {
      records += op === '+' ? 1 : -1;
      ttlSum += op === '+' ? record.ttl : -record.ttl;
    }
    const pick = (op: '+' | '-'): string =>
      JSON.stringify(version.changes.filter((change) => change.op === op).map((change) => change.record));
    await using sql = new SQL(core.url, { max: 1 });
    await sql.begin(async (tx) => {
      await tx.unsafe(
        `DELETE FROM record USING json_to_recordset($1::text::json) ${AS_RECORDS}
         WHERE record.name = r.name AND record.type = r.type AND record.rdata = r.rdata`,
        [pick('-')],
      );
      await tx.unsafe(`INSERT INTO record SELECT * FROM json_to_recordset($1::text::json) ${AS_RECORDS}`, [pick('+')]);
      await tx`UPDATE version SET n = ${n}, at = ${version.at}, records = ${records}, ttl_sum = ${ttlSum}`;
    });
    await between(n);
  }
}

function connect(edge: RoleProcess): SQL {
  return new SQL(`postgres://skerry@127.0.0.1:${edge.port}/postgres`, { max: 1, connectionTimeout: 5 });
}

/** Asks one edge again and again; remembers what was not one whole version, or older than what it saw before. */
class Reader {
  readonly broken: string[] = [];
  seen = -1;
  answers = 0;
  readonly #edge: RoleProcess;
  readonly #done: Promise<void>;
  #stopped = false;

  constructor(edge: RoleProcess) {
    this.#edge = edge;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    let sql = connect(this.#edge);
    while (!this.#stopped) {
      try {
        this.#judge((await sql.unsafe(WHOLE_VERSION)) as Record<string, unknown>[]);
      } catch {
        // The edge was killed, or starts: ask again on a new connection.
        await sql.close().catch(() => {});
        await Bun.sleep(20);
        sql = connect(this.#edge);
      }
      await Bun.sleep(5);
    }
    await sql.close().catch(() => {});
  }

  #judge(rows: readonly Record<string, unknown>[]): void {
    const row = rows[0];
    if (rows.length !== 1 || row === undefined) {
      this.broken.push(`${rows.length} rows`);
      return;
    }
    const [n, records, ttlSum, counted, summed] = ['n', 'records', 'ttl_sum', 'counted', 'summed'].map((key) =>
      Number(row[key]),
    );
    if (records !== counted || ttlSum !== summed) this.broken.push(`version ${n} is not whole: ${JSON.stringify(row)}`);
    if ((n as number) < this.seen) this.broken.push(`version ${n} after ${this.seen}`);
    this.seen = n as number;
    this.answers += 1;
  }
}
