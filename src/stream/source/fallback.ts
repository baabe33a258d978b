// Schema changes without event triggers: when the core describes a relation anew, its catalogue is read and the same message
// that a trigger would have emitted is put before the description. The catalogue may be ahead of the stream by then; images
// are complete, so that does no harm. What cannot be known this way (rows that were rewritten) leads to a new copy.

import { Fault } from '../../base/fault.ts';
import { SCHEMA_MESSAGE_PREFIX, type SchemaChange, type TableImage } from '../../contracts/catalogue.ts';
import { LSN_ZERO } from '../../pg/lsn.ts';
import { ReplicaReader } from '../../replica/reader.ts';
import { logicalMessage } from '../frames.ts';
import type { Core } from './core.ts';

/** Answers `AssemblerSink.relationChanged`. Throws Fault `schema-needs-copy`. */
export function schemaInjector(core: Core, replicaPath: string): (relation: number) => Promise<Uint8Array | null> {
  const known = new Map<number, TableImage>();
  {
    using reader = new ReplicaReader(replicaPath);
    for (const table of reader.catalogue().tables()) known.set(table.oid, table);
  }
  return async (relation) => {
    const { tables, types } = await core.tablesNow([relation]);
    const after = tables.find((table) => table.oid === relation);
    const before = known.get(relation);
    if (after !== undefined && before !== undefined) {
      const why = whyRowsAreUnknown(before, after);
      if (why !== null) {
        throw new Fault('schema-needs-copy', {
          message: `table ${after.schema}.${after.name} was changed (${why}) and its rows may have been rewritten`,
          hint: 'a new copy is taken; a role that may create event triggers would make this unnecessary',
        });
      }
      if (JSON.stringify(before) === JSON.stringify(after)) return null;
    }
    if (after !== undefined) known.set(relation, after);
    const change: SchemaChange = {
      version: 1,
      tag: 'ALTER TABLE',
      tables,
      types,
      droppedTables: after === undefined ? [relation] : [],
      rewrittenTables: [],
    };
    return logicalMessage(true, LSN_ZERO, SCHEMA_MESSAGE_PREFIX, new TextEncoder().encode(JSON.stringify(change)));
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
