// Column descriptions of the few result sets a relay answers with.

import type { ColumnDescription } from '../wire/backend.ts';

export function textColumn(name: string): ColumnDescription {
  return column(name, 25, -1);
}
export function byteaColumn(name: string): ColumnDescription {
  return column(name, 17, -1);
}
export function int4Column(name: string): ColumnDescription {
  return column(name, 23, 4);
}
export function int8Column(name: string): ColumnDescription {
  return column(name, 20, 8);
}
export function column(name: string, typeOid: number, typeSize: number): ColumnDescription {
  return { name, tableOid: 0, attnum: 0, typeOid, typeSize, typmod: -1, format: 0 };
}
