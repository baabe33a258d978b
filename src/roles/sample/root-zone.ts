// The DNS root zone as a sample: a real table and 200 real versions of it, each replayed as one transaction. Pure: texts to SQL.

import { Fault } from '../../base/fault.ts';

export const ROOT_ZONE_COMMENT = 'made by skerry up --sample root-zone';

/** The position in the replay is a row like any other, so that readers at a PoP see which version they look at. */
export const ROOT_ZONE_SCHEMA = `
create table root_zone (name text collate "C", ttl int not null, type text collate "C", rdata text collate "C", primary key (name, type, rdata));
create table root_zone_version (id int primary key, version int not null, at timestamptz not null);
insert into root_zone_version values (1, 0, '2019-11-02 00:00:00+00');
comment on table root_zone is '${ROOT_ZONE_COMMENT}';
`;

const ROWS_PER_INSERT = 2_000;

/** INSERT statements for the rows of root-zone-base.tsv. */
export function rootZoneRows(tsv: string): string[] {
  const rows = tableOf(tsv, ['name', 'ttl', 'type', 'rdata']).map(
    ([name, ttl, type, rdata]) => `(${quote(name)},${Number(ttl)},${quote(type)},${quote(rdata)})`,
  );
  const statements: string[] = [];
  for (let from = 0; from < rows.length; from += ROWS_PER_INSERT) {
    statements.push(
      `insert into root_zone (name, ttl, type, rdata) values\n${rows.slice(from, from + ROWS_PER_INSERT).join(',\n')}`,
    );
  }
  return statements;
}

export interface RootZoneVersion {
  /** From 1. */
  readonly version: number;
  readonly at: string;
  readonly changes: number;
  /** One transaction. */
  readonly sql: string;
}

/** Transactions of root-zone-changes.tsv: all rows with one time are one version. */
export function rootZoneVersions(tsv: string): RootZoneVersion[] {
  const byTime = new Map<string, string[]>();
  for (const [at, op, name, ttl, type, rdata] of tableOf(tsv, ['at', 'op', 'name', 'ttl', 'type', 'rdata'])) {
    const statements = byTime.get(at) ?? [];
    byTime.set(at, statements);
    statements.push(
      op === '-'
        ? `delete from root_zone where name = ${quote(name)} and type = ${quote(type)} and rdata = ${quote(rdata)}`
        : `insert into root_zone (name, ttl, type, rdata) values (${quote(name)}, ${Number(ttl)}, ${quote(type)}, ${quote(rdata)})`,
    );
  }
  return [...byTime].map(([at, statements], index) => ({
    version: index + 1,
    at,
    changes: statements.length,
    sql: [...statements, `update root_zone_version set version = ${index + 1}, at = ${quote(at)}`].join(';\n'),
  }));
}

type Cells = [string, string, string, string, string, string];

function tableOf(tsv: string, header: readonly string[]): Cells[] {
  const lines = tsv.split('\n').filter((line) => line !== '');
  if (lines[0] !== header.join('\t')) {
    throw new Fault('sample-data', {
      message: `the root zone file begins with "${lines[0]?.slice(0, 60) ?? ''}" instead of "${header.join(' ')}"`,
      hint: 'check --data-dir',
    });
  }
  return lines.slice(1).map((line) => line.split('\t') as Cells);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
