// An edge that holds a part: what it answers, what it forwards, and what it refuses where nothing may be forwarded.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { SQL } from 'bun';
import { needs, startPostgres } from '../../test/harness.ts';
import { startFollowingEdge } from '../../test/edge.ts';
import { seenBy, setPlacement, startPlacedRelay } from '../../test/placement.ts';
import { until } from '../../test/relay.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  test(`INVARIANT_I4 ${version}: what a PoP lacks is forwarded, or refused with a reason`, async () => {
    await using postgres = await startPostgres({ version });
    await postgres.sql(`create table customers (id int primary key, name text, email text, region text collate "C");
      create table hidden (id int primary key, a text);
      insert into customers select g, 'n' || g, 'e' || g, case g % 2 when 0 then 'eu' else 'us' end from generate_series(1, 10) g;
      insert into hidden values (1, 'h')`);
    await using relay = await startPlacedRelay(postgres, []);
    await relay.relay.ready;
    const tables = ["customers (id, name, region) WHERE region = 'eu'"];
    await setPlacement(relay, { name: 'eu', pops: ['eu'], forward: 'allow', tables });
    await using edge = await startFollowingEdge(postgres, seenBy(relay, 'eu'), { name: 'eu' });
    const client = new SQL({ url: edge.url, max: 1 });
    try {
      const ask = async (sql: string): Promise<{ rows: unknown[]; by: unknown }> => {
        const rows = [...((await client.unsafe(sql).simple()) as unknown[])];
        const by = ((await client.unsafe('SHOW skerry.answered_by').simple()) as Record<string, unknown>[])[0];
        return { rows, by: Object.values(by ?? {})[0] };
      };
      const held = "SELECT name FROM customers WHERE region = 'eu' ORDER BY id";
      // The role's privileges are learned from the core soon after the start.
      await until('it answers itself', async () => String((await ask(held)).by).startsWith('local'));
      expect((await ask(held)).rows).toHaveLength(5);
      const lacking = [
        ['SELECT count(*)::int AS n FROM customers', [{ n: 10 }]],
        ['SELECT email FROM customers WHERE id = 1', [{ email: 'e1' }]],
        ["SELECT * FROM customers WHERE region = 'eu' AND id = 2", [{ id: 2, name: 'n2', email: 'e2', region: 'eu' }]],
        ['SELECT a FROM hidden', [{ a: 'h' }]],
      ] as const;
      for (const [sql, rows] of lacking) {
        const answer = await ask(sql);
        expect(answer.rows).toEqual(rows as unknown as unknown[]);
        expect([sql, String(answer.by).startsWith('forwarded')]).toEqual([sql, true]);
      }
      await setPlacement(relay, { name: 'eu', pops: ['eu'], forward: 'never', tables });
      await until('it refuses', async () =>
        ask(lacking[0][0]).then(
          () => false,
          () => true,
        ),
      );
      for (const [sql] of lacking) {
        const error = await ask(sql).then(
          () => null,
          (reason: unknown) => reason as { errno?: string; message: string; hint?: string; detail?: string },
        );
        expect([sql, error?.errno]).toEqual([sql, '42501']);
        expect(error?.message).toContain('placement "eu" does not let it be forwarded');
        expect(error?.hint).toContain('repeat the condition');
      }
      const refused = await ask("INSERT INTO customers VALUES (99, 'x', 'y', 'eu')").then(
        () => null,
        (reason: unknown) => reason as { errno?: string },
      );
      expect(refused?.errno).toBe('42501');
      expect((await ask(held)).rows).toHaveLength(5);
      expect(String((await ask(held)).by)).toStartWith('local');
    } finally {
      await client.close({ timeout: 0 });
    }
  });
}
