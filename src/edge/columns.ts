// Writes one column's SQLite value into a DataRow, in Postgres' text or binary form. One writer per column, chosen once per
// plan; a type whose binary form is not spoken here has none, and the statement is forwarded.

import { OID } from '../pg/oid.ts';
import { binaryFromText, hasBinary, type TypeLookup } from '../pg/types/binary.ts';
import { formatFloat4, formatFloat8 } from '../pg/types/float.ts';
import { printedTemporal } from '../pg/types/ordered-temporal.ts';
import type { Catalogue } from '../replica/catalogue.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import { readText } from './sql/read.ts';
import type { ColumnPlan } from './sql/plan.ts';

/** Appends length and value; never called for NULL. */
export type ColumnWriter = (out: ByteWriter, value: SqliteValue) => void;

/** The writer for a column in `format` (0 text, 1 binary); null when there is none. `lookup` knows the database's own types. */
export function columnWriter(column: ColumnPlan, format: number, lookup: TypeLookup): ColumnWriter | null {
  if (format === 0) return TEXT_WRITERS[column.reader];
  const fromValue = binaryOfValue(column);
  if (fromValue !== null) return fromValue;
  const { reader, typeOid } = column;
  if (!hasBinary(typeOid, lookup)) return null;
  return (out, value) => out.countedBytes(binaryFromText(typeOid, readText(reader, value), lookup));
}

/** Facts about types of the database itself, as the binary codecs want them. */
export function typeLookup(catalogue: Catalogue): TypeLookup {
  return (oid) => catalogue.type(oid);
}

const TEXT_WRITERS: Readonly<Record<ColumnPlan['reader'], ColumnWriter>> = {
  integer: (out, value) => out.countedText(String(value)),
  bool: (out, value) => {
    out.int32(1);
    out.byte(value === 0 ? 0x66 : 0x74);
  },
  float4: (out, value) => out.countedText(typeof value === 'string' ? value : formatFloat4(Math.fround(Number(value)))),
  float8: (out, value) => out.countedText(typeof value === 'string' ? value : formatFloat8(Number(value))),
  text: (out, value) => out.countedText(value as string),
  bytea: (out, value) => out.countedText(`\\x${Buffer.from(value as Uint8Array).toString('hex')}`),
  temporal: (out, value) => out.countedText(printedTemporal(value as string)),
};

/** Types whose stored value is nearer to the binary form than its text is. */
function binaryOfValue(column: ColumnPlan): ColumnWriter | null {
  switch (column.typeOid) {
    case OID.int4:
    case OID.oid:
      return (out, value) => {
        out.int32(4);
        out.int32(Number(value));
      };
    case OID.int2:
      return (out, value) => {
        out.int32(2);
        out.int16(Number(value));
      };
    case OID.int8:
      return (out, value) => {
        out.int32(8);
        out.int64(BigInt(value as string | number | bigint));
      };
    case OID.bool:
      return (out, value) => {
        out.int32(1);
        out.byte(value === 0 ? 0 : 1);
      };
    case OID.text:
    case OID.varchar:
      return column.reader === 'text' ? (out, value) => out.countedText(value as string) : null;
    case OID.bytea:
      return (out, value) => out.countedBytes(value as Uint8Array);
    default:
      return null;
  }
}
