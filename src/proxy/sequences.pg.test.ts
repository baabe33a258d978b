// currval and lastval in transaction mode: the client's own value, or Postgres' own 55000; never another client's.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import { startProxy, type TestProxy } from '../../test/proxy.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql('create table item (id serial primary key, who text)');
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

type Client = pg.Client & AsyncDisposable;

async function connect(proxy: TestProxy): Promise<Client> {
  const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, user: 'postgres', database: 'postgres' });
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

const ASK = "select currval('item_id_seq')::int as id, lastval()::int as last";

/** How the statements are sent: as a simple query, by messages, by messages under a name. */
const FORMS: readonly (readonly [string, (client: pg.Client, text: string) => Promise<pg.QueryResult>])[] = [
  ['simple', (client, text) => client.query(text)],
  ['unnamed', (client, text) => client.query({ text, values: [], queryMode: 'extended' } as pg.QueryConfig)],
  ['named', (client, text) => client.query({ name: text.slice(0, 20), text })],
];

describe.each(FORMS)('%s statements', (_, query) => {
  const insert = async (client: pg.Client): Promise<number> =>
    Number((await query(client, "insert into item (who) values ('me') returning id")).rows[0].id);
  const ask = async (client: pg.Client): Promise<unknown> => {
    try {
      const row = (await query(client, ASK)).rows[0] as { id: number; last: number };
      return row.id === row.last ? row.id : row;
    } catch (error) {
      return (error as { code?: string }).code;
    }
  };

  test('alone on its server connection a client gets its value, in a later transaction too', async () => {
    await using proxy = await startProxy(postgres);
    await using client = await connect(proxy);
    expect(await ask(client)).toBe('55000');
    for (let time = 0; time < 3; time += 1) {
      const id = await insert(client);
      expect(await ask(client)).toBe(id);
    }
    await using second = await connect(proxy);
    const id = await insert(second);
    expect(await ask(second)).toBe(id);
  });

  test('after another client on the same connection it is an error once, and right from then on', async () => {
    await using proxy = await startProxy(postgres, { poolSize: 4 });
    await using mine = await connect(proxy);
    await using other = await connect(proxy);
    await insert(mine);
    await insert(other);
    expect(await ask(mine)).toBe('55000');
    for (let time = 0; time < 3; time += 1) {
      const id = await insert(mine);
      await insert(other);
      expect(await ask(mine)).toBe(id);
    }
  });

  test('once somebody has asked, clients that come later keep their values from the beginning', async () => {
    await using proxy = await startProxy(postgres, { poolSize: 4 });
    await using first = await connect(proxy);
    await ask(first);
    await using mine = await connect(proxy);
    await using other = await connect(proxy);
    const id = await insert(mine);
    await insert(other);
    await insert(other);
    expect(await ask(mine)).toBe(id);
  });

  test('in the transaction of their nextval nothing is pinned', async () => {
    await using proxy = await startProxy(postgres);
    await using client = await connect(proxy);
    await client.query('begin');
    const id = await insert(client);
    expect(await ask(client)).toBe(id);
    await client.query('commit');
    expect([...proxy.proxy.clients].map((one) => one.server)).toEqual([null]);
  });

  test('those who only read are not pinned, also after somebody has asked', async () => {
    await using proxy = await startProxy(postgres);
    await using first = await connect(proxy);
    await ask(first);
    await using reader = await connect(proxy);
    await query(reader, 'select 1');
    expect([...proxy.proxy.clients].map((one) => one.server === null)).toEqual([false, true]);
  });
});
