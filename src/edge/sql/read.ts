// SQLite value → Postgres' text output, by the column's reader.

import { formatFloat4, formatFloat8 } from '../../pg/types/float.ts';
import { printedTemporal } from '../../pg/types/ordered-temporal.ts';
import type { SqliteValue } from '../../replica/sqlite.ts';
import type { Reader } from './plan.ts';

/** Text as Postgres prints it under the plan's needs. Not called for NULL. */
export function readText(reader: Reader, value: SqliteValue): string {
  switch (reader) {
    case 'text':
      return value as string;
    case 'integer':
      return String(value as number);
    case 'bool':
      return value === 0 ? 'f' : 't';
    case 'temporal':
      return printedTemporal(value as string);
    case 'float8':
      return typeof value === 'string' ? value : formatFloat8(Number(value));
    case 'float4':
      return typeof value === 'string' ? value : formatFloat4(Math.fround(Number(value)));
    case 'bytea':
      return `\\x${Buffer.from(value as Uint8Array).toString('hex')}`;
  }
}
