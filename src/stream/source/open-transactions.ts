// Who keeps the core from making a slot: a new slot begins at a moment when no older transaction is open, in any database,
// and Postgres waits for that without a word. A forgotten session or a prepared transaction can make it wait for ever.

import type { ClientSession } from '../../session/client-session.ts';

/** More of them than this in one sentence help nobody. */
const SHOWN_MAX = 3;

const SQL = `SELECT who FROM (
    SELECT pg_catalog.format('prepared transaction %s of %I since %s', pg_catalog.quote_literal(p.gid), p.owner, p.prepared::timestamptz(0)) AS who,
      p.prepared AS since FROM pg_catalog.pg_prepared_xacts p
    UNION ALL
    SELECT pg_catalog.format('process %s (%s, %s) since %s', a.pid, a.usename, a.state, a.xact_start::timestamptz(0)), a.xact_start
      FROM pg_catalog.pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
  ) x ORDER BY since LIMIT ${SHOWN_MAX}`;

/** The oldest transactions that are open now and have written something, as part of a sentence; null when there are none. */
export async function openTransactions(session: ClientSession): Promise<string | null> {
  const found = await session.query(SQL);
  const who = found.rows.map((row) => row[0]).filter((one) => typeof one === 'string');
  return who.length === 0 ? null : who.join(', ');
}
