// The npm client `pg` as an independent oracle for tests: values as the server printed them, nothing parsed.

import pg from 'pg';
import type { TestPostgres } from './harness.ts';

/** The stream's settings: what every text in a replica is printed under. */
export const PINNED_OPTIONS =
  '-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c jit=off';

export interface RawClient extends AsyncDisposable {
  texts(sql: string, values?: readonly unknown[]): Promise<(string | null)[][]>;
}

export async function connectRaw(postgres: TestPostgres): Promise<RawClient> {
  const client = new pg.Client({
    host: postgres.host,
    port: postgres.port,
    user: postgres.user,
    database: postgres.database,
    options: PINNED_OPTIONS,
  });
  client.on('error', () => {});
  await client.connect();
  const types = { getTypeParser: () => (value: unknown) => value };
  return {
    texts: async (sql, values = []) => {
      const config = { text: sql, values: [...values], rowMode: 'array' as const, types };
      return (await client.query<(string | null)[]>(config)).rows;
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}
