// A relay with placements and PoPs with names of their own, for tests; every byte a PoP is sent can be looked at.

import { expect } from 'bun:test';
import type { PlacementSpec } from '../src/contracts/placement.ts';
import { CHECKSUM_SETTINGS } from '../src/replica/checksum.ts';
import { ReplicaReader } from '../src/replica/reader.ts';
import type { RelayOptions } from '../src/stream/relay.ts';
import type { TestPostgres } from './harness.ts';
import { caughtUp, startRelay, startReplica, type TestRelay, type TestReplica, upstreamOf } from './relay.ts';

export const ADMIN = { user: 'admin', password: 'admin secret' } as const;
const SELF = { user: 'own replica', password: 'own secret' } as const;

/** Names of PoPs that may log in; their password is `NAME secret`. */
export const POPS = ['eu', 'us', 'all', 'nobody'] as const;

export function placedRelayOptions(placements: readonly PlacementSpec[]): Partial<RelayOptions> {
  return {
    auth: {
      users: new Map([
        [ADMIN.user, ADMIN.password],
        [SELF.user, SELF.password],
        ...POPS.map((name) => [name, `${name} secret`] as const),
      ]),
      trustLoopback: false,
      acceptCertificates: false,
    },
    self: SELF,
    admin: ADMIN.user,
    placements,
  };
}

export function startPlacedRelay(
  postgres: TestPostgres,
  placements: readonly PlacementSpec[] = [],
  directory?: string,
): Promise<TestRelay> {
  return startRelay({
    upstream: upstreamOf(postgres),
    overrides: placedRelayOptions(placements),
    ...(directory === undefined ? {} : { directory }),
  });
}

/** A relay as a PoP of that name sees it. */
export function seenBy(
  relay: { readonly port: number; readonly httpPort: number },
  name: string,
): {
  readonly url: string;
  readonly httpUrl: string;
} {
  return {
    url: `postgres://${name}:${encodeURIComponent(`${name} secret`)}@127.0.0.1:${relay.port}/postgres`,
    httpUrl: `http://127.0.0.1:${relay.httpPort}`,
  };
}

export function startPop(
  relay: { readonly port: number; readonly httpPort: number },
  name: string,
  directory?: string,
): TestReplica {
  return startReplica(seenBy(relay, name), { name, ...(directory === undefined ? {} : { directory }) });
}

/** One request to a relay's HTTP port as somebody. */
export function askRelay(
  relay: { readonly httpUrl: string },
  user: string,
  path: string,
  init: { readonly method?: string; readonly body?: object } = {},
): Promise<Response> {
  return fetch(`${relay.httpUrl}${path}`, {
    method: init.method ?? 'GET',
    headers: { authorization: `Basic ${btoa(`${user}:${user} secret`)}` },
    ...(init.body === undefined ? {} : { body: JSON.stringify(init.body) }),
  });
}

export async function setPlacement(relay: TestRelay, spec: PlacementSpec, query = ''): Promise<void> {
  const response = await askRelay(relay, ADMIN.user, `/placements/${spec.name}${query}`, { method: 'PUT', body: spec });
  const text = await response.text();
  expect(`${response.status} ${text}`).toStartWith('200');
  expect(JSON.parse(text)).toMatchObject({ isWaiting: false });
}

export interface Expected {
  /** schema.name */
  readonly table: string;
  readonly columns: readonly string[];
  readonly where?: string;
}

/** A PoP at rest holds exactly these tables, and in each what the core's `SELECT columns WHERE where` gives. */
export async function expectHolds(
  postgres: TestPostgres,
  pop: TestReplica,
  expected: readonly Expected[],
  /** Partitioned tables, without rows of their own. */
  shapes: readonly string[] = [],
): Promise<void> {
  await caughtUp(postgres, pop);
  const settings = Object.entries(CHECKSUM_SETTINGS)
    .map(([name, value]) => `set ${name} = '${value}'`)
    .join('; ');
  using reader = new ReplicaReader(pop.path);
  const catalogue = reader.catalogue();
  const tables = [...catalogue.tables()];
  expect(tables.map((one) => `${one.schema}.${one.name}`).toSorted()).toEqual(
    [...expected.map((one) => one.table), ...shapes].toSorted(),
  );
  for (const { table, columns, where } of expected) {
    const image = tables.find((one) => `${one.schema}.${one.name}` === table);
    const layout = reader.layout(image?.oid ?? 0);
    if (layout === null) throw new Error(`no layout of ${table}`);
    expect([table, ...layout.columns.map((column) => column.name)]).toEqual([table, ...columns]);
    const reads = layout.columns.map((column) => column.codec.read(`"${column.sqlName.replaceAll('"', '""')}"`));
    const held = reader.sqlite
      .rows(`select ${['1', ...reads].join(', ')} from "${layout.sqlName.replaceAll('"', '""')}"`)
      .map((row) =>
        JSON.stringify(
          layout.columns.map((column, index) => {
            const value = row[index + 1] ?? null;
            return value === null ? null : column.codec.decode(value);
          }),
        ),
      );
    const texts = columns
      .map((name) => `format('%s', "${name}")`)
      .map((text, index) => `case when "${columns[index]}" is not distinct from null then null else ${text} end`);
    const rows = await postgres.sql(
      `${settings}; select array_to_json(array[${texts.join(', ')}]::text[])::text as row from only ${table} where ${where ?? 'true'}`,
    );
    expect({ table, rows: held.toSorted() }).toEqual({
      table,
      rows: rows.map((row) => JSON.stringify(JSON.parse(String(row['row'])))).toSorted(),
    });
  }
  const isMeant = (line: string): boolean =>
    line.includes('is to hold') || line.includes("no longer in the relay's log");
  expect(pop.lines.filter((line) => line.includes('replica.unusable') && !isMeant(line))).toEqual([]);
}

/** A TCP relay that keeps what its server sends. */
export function tap(port: number): { readonly port: number; readonly sent: () => Buffer; stop(): void } {
  const chunks: Buffer[] = [];
  interface Pair {
    server: Promise<import('bun').Socket<Waiting>>;
  }
  interface Waiting {
    queue: Buffer[];
  }
  const write = (socket: import('bun').Socket<Waiting>, data: Buffer): void => {
    socket.data.queue.push(data);
    flush(socket);
  };
  const flush = (socket: import('bun').Socket<Waiting>): void => {
    const { queue } = socket.data;
    while (queue.length > 0) {
      const first = queue[0] as Buffer;
      const written = socket.write(first);
      if (written < first.length) {
        queue[0] = first.subarray(Math.max(written, 0));
        return;
      }
      queue.shift();
    }
  };
  const listener = Bun.listen<Pair & Waiting>({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      open(client) {
        const server = Bun.connect<Waiting>({
          hostname: '127.0.0.1',
          port,
          data: { queue: [] },
          socket: {
            data(_socket, data) {
              chunks.push(Buffer.from(data));
              write(client as unknown as import('bun').Socket<Waiting>, Buffer.from(data));
            },
            drain: flush,
            close: () => {
              client.end();
            },
          },
        });
        server.catch(() => client.end());
        client.data = { server, queue: [] };
      },
      data(client, data) {
        const copy = Buffer.from(data);
        void client.data.server.then((server) => write(server, copy)).catch(() => {});
      },
      drain: (client) => flush(client as unknown as import('bun').Socket<Waiting>),
      close(client) {
        void client.data.server.then((server) => server.end()).catch(() => {});
      },
    },
  });
  return { port: listener.port, sent: () => Buffer.concat(chunks), stop: () => listener.stop(true) };
}
