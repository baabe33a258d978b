// What benches write to a core: the same table and the same statements for the baseline and for us.

import type { PgConnection } from './pg-connection.ts';

/** The table of the loads: a key, a number, a text of 64 characters, a time: about 110 bytes a row. */
export const TABLE = 'bench_row';

const CREATE = `CREATE TABLE ${TABLE} (id bigint PRIMARY KEY, n int NOT NULL, payload text NOT NULL, changed_at timestamptz NOT NULL DEFAULT now())`;

export async function createTable(connection: PgConnection): Promise<void> {
  await connection.query(CREATE);
}

/** Rows `from` to `to`, both included, in one transaction. */
export async function insertRows(connection: PgConnection, range: { from: number; to: number }): Promise<void> {
  await connection.query(
    `INSERT INTO ${TABLE} (id, n, payload) SELECT id, id % 1000, md5(id::text) || md5((id + 1)::text) FROM generate_series(${range.from}::bigint, ${range.to}) AS id`,
  );
}

/**
 * `changes` row changes in one transaction on a table with rows 1 to `changes`: half updates, four tenths inserts, one
 * tenth deletes. The last change is the insert of row `lastId`, which tells a reader that the transaction is there.
 */
export async function changeManyRows(connection: PgConnection, changes: number): Promise<{ lastId: number }> {
  const updates = changes / 2;
  const deletes = changes / 10;
  const inserts = changes - updates - deletes;
  await connection.query('BEGIN');
  await connection.query(`UPDATE ${TABLE} SET n = n + 1, changed_at = now() WHERE id <= ${updates}`);
  await connection.query(`DELETE FROM ${TABLE} WHERE id > ${updates} AND id <= ${updates + deletes}`);
  await insertRows(connection, { from: changes + 1, to: changes + inserts });
  await connection.query('COMMIT');
  return { lastId: changes + inserts };
}

/** A procedure that commits each of its row updates on its own: as fast as a writer can be. */
export async function createOneRowWriter(connection: PgConnection): Promise<void> {
  await connection.query(`
    CREATE PROCEDURE bench_one_row(transactions int, rows int) LANGUAGE plpgsql AS $$
    BEGIN
      FOR i IN 1..transactions LOOP
        UPDATE ${TABLE} SET n = i WHERE id = 1 + (i::bigint * 7919) % rows;
        COMMIT;
      END LOOP;
    END $$`);
}

/** `transactions` one-row transactions, then one that inserts row `lastId`. Does not wait for each flush. */
export async function writeOneRowTransactions(
  connection: PgConnection,
  options: { transactions: number; rows: number; lastId: number },
): Promise<void> {
  await connection.query('SET synchronous_commit = off');
  await connection.query(`CALL bench_one_row(${options.transactions}, ${options.rows})`);
  await connection.query('SET synchronous_commit = on');
  await insertRows(connection, { from: options.lastId, to: options.lastId });
}

/** True when a reader sees row `id`. */
export async function seesRow(reader: PgConnection, id: number): Promise<boolean> {
  return (await reader.query(`SELECT n FROM ${TABLE} WHERE id = ${id}`)).length === 1;
}
