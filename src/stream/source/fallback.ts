// Schema changes without event triggers: when the core describes a relation anew, its catalogue is read and the same message
// that a trigger would have emitted is put before the description. The catalogue may be ahead of the stream by then; images
// are complete, so that does no harm. What cannot be known this way (rows that were rewritten) leads to a new copy.

import { Fault } from '../../base/fault.ts';
import {
  type ColumnImage,
  SCHEMA_MESSAGE_PREFIX,
  type SchemaChange,
  type TableImage,
} from '../../contracts/catalogue.ts';
import { LSN_ZERO } from '../../pg/lsn.ts';
import { ReplicaReader } from '../../replica/reader.ts';
import { PgoutputDecoder, type RelationMessage } from '../../wire/pgoutput.ts';
import { logicalMessage } from '../frames.ts';
import type { Core } from './core.ts';

/** Answers `AssemblerSink.relationChanged`. Throws Fault `schema-needs-copy`. */
export function schemaInjector(
  core: Core,
  replicaPath: string,
): (relation: number, description: Uint8Array) => Promise<Uint8Array | null> {
  const known = new Map<number, TableImage>();
  {
    using reader = new ReplicaReader(replicaPath);
    for (const table of reader.catalogue().tables()) known.set(table.oid, table);
  }
  const decoder = new PgoutputDecoder();
  return async (relation, description) => {
    const message = decoder.decode(Buffer.from(description), 0, description.length);
    if (message.tag !== 'relation') return null;
    const { tables, types } = await core.tablesNow([relation]);
    const now = tables.find((table) => table.oid === relation);
    const before = known.get(relation);
    const after = now === undefined ? before : imageAsDescribed(now, before, message);
    if (after === undefined) throw needsCopy(`${message.schema}.${message.name}`, 'it is gone already');
    if (after === null) throw needsCopy(`${message.schema}.${message.name}`, 'several changes at once');
    const why = before === undefined ? null : whyRowsAreUnknown(before, after);
    if (why !== null) throw needsCopy(`${message.schema}.${message.name}`, why);
    if (JSON.stringify(before) === JSON.stringify(after)) return null;
    known.set(relation, after);
    const change: SchemaChange = {
      version: 1,
      tag: 'ALTER TABLE',
      tables: [...tables.filter((table) => table.oid !== relation), after],
      types,
      droppedTables: [],
      rewrittenTables: [],
    };
    return logicalMessage(true, LSN_ZERO, SCHEMA_MESSAGE_PREFIX, new TextEncoder().encode(JSON.stringify(change)));
  };
}

function needsCopy(table: string, why: string): Fault {
  return new Fault('schema-needs-copy', {
    message: `table ${table} was changed (${why}) and its rows may have been rewritten`,
    hint: 'a new copy is taken; a role that may create event triggers would make this unnecessary',
  });
}

/**
 * The table as the stream describes it. The catalogue is read later than the change was made, so columns may have been
 * renamed, added or dropped since; each column described is looked up in what is known now and in what was known before.
 * Null when one cannot be told.
 */
export function imageAsDescribed(
  now: TableImage,
  before: TableImage | undefined,
  described: RelationMessage,
): TableImage | null {
  const columns: ColumnImage[] = [];
  const sent = now.columns.filter((one) => one.replicated);
  for (const [index, { name, typeOid }] of described.columns.entries()) {
    const old = before?.columns.find((one) => one.name === name);
    const found =
      sent.find((one) => one.name === name) ??
      sent.find((one) => one.attnum === old?.attnum) ??
      old ??
      (sent.length === described.columns.length ? sent[index] : undefined);
    const column = found?.typeOid === typeOid ? found : old?.typeOid === typeOid ? old : undefined;
    if (column === undefined || columns.some((one) => one.attnum === column.attnum)) return null;
    columns.push({ ...column, name });
  }
  const unsent = now.columns.filter((one) => !one.replicated && !columns.some((other) => other.attnum === one.attnum));
  const all = [...columns, ...unsent].toSorted((a, b) => a.attnum - b.attnum);
  const has = (attnum: number): boolean => attnum === 0 || all.some((one) => one.attnum === attnum);
  return {
    ...now,
    schema: described.schema,
    name: described.name,
    columns: all,
    indexes: now.indexes.filter((index) => index.keyAttnums.every(has)),
  };
}

/** Why existing rows cannot be derived from what is known; null when they can. */
export function whyRowsAreUnknown(before: TableImage, after: TableImage): string | null {
  for (const column of after.columns) {
    const old = before.columns.find((one) => one.attnum === column.attnum);
    if (old !== undefined && (old.typeOid !== column.typeOid || old.typmod !== column.typmod)) {
      return `the type of column ${column.name}`;
    }
    // A default that is stored with the column was constant; any other may have been computed for each row.
    if (old === undefined && column.defaultText !== null && column.missingText === null) {
      return `column ${column.name} came with a default`;
    }
    if (old === undefined && column.generated !== '' && column.replicated) return `column ${column.name} is generated`;
  }
  if (before.rowFilter !== after.rowFilter) return 'the row filter';
  return null;
}
