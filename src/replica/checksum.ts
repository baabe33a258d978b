// Checksum of a table's rows, the same on a replica and in SQL on the core: order-independent, so that no sort is needed.
//
//   row text   for each replicated column in attnum order: `N;` for NULL, else `<bytes of t>:<t>;`
//   t          what the type's output function prints under CHECKSUM_SETTINGS (never a cast: ::text trims char(n))
//   sum        of the first 64 bits of md5(row text), modulo 2^64

import type { Crypto } from '../base/crypto.ts';
import type { TableImage } from '../contracts/catalogue.ts';
import type { TableChecksum } from '../contracts/health.ts';
import { quoteAlways, quoteIdentifier, quoteQualified } from '../pg/identifier.ts';
import { type ColumnLayout, ROWID, type TableLayout } from './layout.ts';
import type { Sqlite, SqliteValue } from './sqlite.ts';

/** Session settings under which the core must compute its checksums: those of the stream's text. */
export const CHECKSUM_SETTINGS: Readonly<Record<string, string>> = {
  DateStyle: 'ISO',
  TimeZone: 'UTC',
  IntervalStyle: 'postgres',
  extra_float_digits: '3',
  bytea_output: 'hex',
};

/** Rows per step of `checksumTable` at most: a few milliseconds of small rows. */
const ROWS_PER_STEP_MAX = 2000;

/** Rows of the first step, when nobody knows yet how long they are. */
const ROWS_FIRST_STEP = 16;

/** Characters per step that later steps aim at, so that long rows do not fill the memory. */
const TEXT_PER_STEP = 1024 * 1024;

const ROWID_MIN = -(2n ** 63n);
const ROWID_MAX = 2n ** 63n - 1n;

/**
 * Computes the checksum of one table step by step; run it inside one snapshot. Yields the number of rows done so far, so
 * that the caller can let others run, and returns the checksum. `where` is SQL that rows must fulfil.
 */
export function* checksumTable(
  sqlite: Sqlite,
  layout: TableLayout,
  crypto: Crypto,
  where = '1',
): Generator<number, TableChecksum> {
  const columns = layout.columns;
  const reads = columns.map((column) => column.codec.read(quoteAlways(column.sqlName)));
  const from = `FROM ${quoteAlways(layout.sqlName)} WHERE ${ROWID} >= ? AND (${where}) ORDER BY ${ROWID}`;
  const chunkStatement = sqlite.prepare(`SELECT ${[ROWID, ...reads].join(', ')} ${from} LIMIT ?`);
  let rows = 0;
  let high = 0;
  let low = 0;
  let next = ROWID_MIN;
  let limit = ROWS_FIRST_STEP;
  try {
    for (;;) {
      const chunk = chunkStatement.all([next, limit]);
      let length = 0;
      for (const row of chunk) {
        const text = rowText(columns, row);
        length += text.length;
        const digest = crypto.md5Hex(text);
        high += Number.parseInt(digest.slice(0, 8), 16);
        low += Number.parseInt(digest.slice(8, 16), 16);
      }
      // Folded after each chunk, the sums of 32-bit halves stay exact in a double.
      high = (high + Math.floor(low / 2 ** 32)) % 2 ** 32;
      low %= 2 ** 32;
      rows += chunk.length;
      if (chunk.length < limit) break;
      limit = Math.max(
        1,
        Math.min(ROWS_PER_STEP_MAX, limit * 8, Math.floor((TEXT_PER_STEP * chunk.length) / (length + 1))),
      );
      let last = (chunk[chunk.length - 1] as SqliteValue[])[0] as number | bigint | string;
      if (typeof last === 'number' && !Number.isSafeInteger(last)) {
        // The driver has rounded it.
        last = sqlite.value(`SELECT CAST(${ROWID} AS TEXT) ${from} LIMIT 1 OFFSET ${chunk.length - 1}`, next) as string;
      }
      next = BigInt(last) + 1n;
      if (next > ROWID_MAX) break;
      yield rows;
    }
  } finally {
    chunkStatement.finalize();
  }
  return { table: `${layout.image.schema}.${layout.image.name}`, rows, sum: hex32(high) + hex32(low) };
}

/** The text that is hashed for one row; `row[0]` is the row number. */
function rowText(columns: readonly ColumnLayout[], row: readonly SqliteValue[]): string {
  let text = '';
  for (let index = 0; index < columns.length; index += 1) {
    const value = row[index + 1] as SqliteValue;
    if (value === null) {
      text += 'N;';
    } else {
      const printed = (columns[index] as ColumnLayout).codec.decode(value);
      text += `${Buffer.byteLength(printed)}:${printed};`;
    }
  }
  return text;
}

/** The whole at once: for small tables and tests. */
export function checksumTableNow(sqlite: Sqlite, layout: TableLayout, crypto: Crypto): TableChecksum {
  const steps = checksumTable(sqlite, layout, crypto);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/**
 * SQL that computes the same on the core: one row with `rows` (text) and `sum` (16 hex digits). Needs CHECKSUM_SETTINGS.
 * ONLY, because rows of children are rows of other tables.
 */
export function checksumSql(image: TableImage): string {
  const parts = image.columns
    .filter((column) => column.replicated)
    .map((column) => {
      const name = quoteIdentifier(column.name);
      // concat() calls the output function; convert_to makes it independent of the database's encoding.
      const text = `convert_to(concat(t.${name}), 'UTF8')`;
      return `CASE WHEN num_nulls(t.${name}) = 1 THEN 'N;'::bytea ELSE convert_to(octet_length(${text}) || ':', 'UTF8') || ${text} || ';'::bytea END`;
    });
  const row = parts.length === 0 ? "''::bytea" : parts.join(' || ');
  const filter = image.rowFilter === null ? '' : ` WHERE ${image.rowFilter}`;
  const hash = `('x' || substr(md5(${row}), 1, 16))::bit(64)::bigint AS hash`;
  // sum(bigint) is a numeric, so nothing overflows; modulo twice, because the hashes are signed there.
  const sum = `mod(mod(coalesce(sum(hash), 0), ${TWO_64}) + ${TWO_64}, ${TWO_64})`;
  const hex = (half: string): string => `lpad(to_hex((${half})::bigint), 8, '0')`;
  return (
    `SELECT count::text AS rows, ${hex(`div(sum, ${TWO_32})`)} || ${hex(`mod(sum, ${TWO_32})`)} AS sum ` +
    `FROM (SELECT count(*) AS count, ${sum} AS sum ` +
    `FROM (SELECT ${hash} FROM ONLY ${quoteQualified(image.schema, image.name)} AS t${filter}) AS hashes) AS sums`
  );
}

const TWO_32 = '4294967296';
const TWO_64 = '18446744073709551616';

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
