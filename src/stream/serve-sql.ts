// The SELECTs that PostgreSQL's own programs send over a replication connection, recognised by what they ask for:
//   pg_recvlogical, every libpq replication client   SELECT pg_catalog.set_config('search_path', '', false)
//   CREATE / ALTER SUBSCRIPTION                      is there this publication; which tables does it send (two forms)
// A relay is no database: anything else is refused.

import { Fault } from '../base/fault.ts';
import type { TableImage } from '../contracts/catalogue.ts';
import { isStored } from '../replica/layout.ts';
import { resolvePlacement } from '../replica/placement/placement.ts';
import { placementInForce } from '../replica/placement/snapshot.ts';
import { ReplicaReader } from '../replica/reader.ts';
import type { ColumnDescription } from '../wire/backend.ts';
import { column, textColumn } from './columns.ts';
import type { RelayState } from './relay-state.ts';

export interface SqlAnswer {
  readonly columns: readonly ColumnDescription[];
  readonly rows: readonly (readonly (string | null)[])[];
}

const NAME_OID = 19;
const INT2VECTOR_OID = 22;
const NAME_ARRAY_OID = 1003;
const INT4_OID = 23;

/** Answers one statement. Throws Fault `sql-unsupported`. */
export async function answerSql(state: RelayState, identity: string, sql: string): Promise<SqlAnswer> {
  const text = sql.trim().replace(/;$/, '');
  if (/^select\s+pg_catalog\.set_config\s*\(\s*'search_path'/i.test(text)) {
    return { columns: [textColumn('set_config')], rows: [['']] };
  }
  if (/^select\s+1$/i.test(text)) return { columns: [column('?column?', INT4_OID, 4)], rows: [['1']] };
  if (/pg_get_publication_tables/i.test(text)) return publishedTables(state, identity, text, 'attnums');
  if (/from\s+pg_catalog\.pg_publication_tables/i.test(text)) return publishedTables(state, identity, text, 'names');
  if (/from\s+pg_catalog\.pg_publication\b/i.test(text)) {
    const rows = mentions(text, state.publication) ? [[state.publication]] : [];
    return { columns: [column('pubname', NAME_OID, 64)], rows };
  }
  throw new Fault('sql-unsupported', {
    message: 'a relay is not a database: it answers replication commands only',
    hint: 'send SQL to an edge or to the core',
    sqlstate: '0A000',
  });
}

async function publishedTables(
  state: RelayState,
  identity: string,
  text: string,
  form: 'attnums' | 'names',
): Promise<SqlAnswer> {
  const tables = mentions(text, state.publication) ? await readTables(state, identity) : [];
  const withColumns = /attn|attrs/i.test(text);
  const columns = [column(form === 'names' ? 'schemaname' : 'nspname', NAME_OID, 64), column('relname', NAME_OID, 64)];
  if (withColumns)
    columns.push(form === 'names' ? column('attnames', NAME_ARRAY_OID, -1) : column('attrs', INT2VECTOR_OID, -1));
  return {
    columns,
    rows: tables.map((table) => [
      table.schema,
      table.name,
      ...(withColumns ? [form === 'names' ? columnNames(table) : columnNumbers(table)] : []),
    ]),
  };
}

function mentions(sql: string, publication: string): boolean {
  return sql.includes(`'${publication.replaceAll("'", "''")}'`);
}

/** Read from the file each time: this happens when a subscription is created or refreshed, and not otherwise. */
async function readTables(state: RelayState, identity: string): Promise<TableImage[]> {
  const { placement } = state.viewOf(identity);
  await state.deps.clock.sleep(0);
  using reader = new ReplicaReader(state.must().replicaPath);
  if (placement === null) return [...reader.catalogue().tables()].filter(isStored);
  const { spec } = placementInForce(reader.sqlite, placement);
  return [...resolvePlacement(spec, reader.catalogue()).held.values()].map((held) => held.image);
}

/** Null (all columns) unless the publication has a column list. */
function columnNumbers(table: TableImage): string | null {
  const chosen = table.columns.filter((one) => one.replicated);
  const plain = table.columns.filter((one) => one.generated === '');
  return chosen.length === plain.length && table.columnsWithheld !== true
    ? null
    : chosen.map((one) => one.attnum).join(' ');
}

function columnNames(table: TableImage): string {
  const names = table.columns.filter((one) => one.replicated).map((one) => `"${one.name.replace(/["\\]/g, '\\$&')}"`);
  return `{${names.join(',')}}`;
}
