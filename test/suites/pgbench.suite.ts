// pgbench's TPC-B through the proxy: every query mode, with lasting connections and a new one for each transaction, in both
// pool modes, with fewer server connections than clients. Its sums say whether every transaction was done once and whole.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { clientProgram, needs, startPostgres, type TestPostgres } from '../harness.ts';
import { startProxy } from '../proxy.ts';

const CLIENTS = 8;
const TRANSACTIONS_PER_CLIENT = 100;

const SUMS = `select (select sum(abalance) from pgbench_accounts)::text as accounts, (select sum(tbalance) from pgbench_tellers)::text as tellers,
  (select sum(bbalance) from pgbench_branches)::text as branches, (select sum(delta) from pgbench_history)::text as history,
  (select count(*) from pgbench_history)::int as transactions`;

if (!needs('pgbench')) test.skip('pgbench', () => {});
else {
  describe('pgbench through the proxy', () => {
    let postgres: TestPostgres;
    beforeAll(async () => {
      postgres = await startPostgres();
    });
    afterAll(async () => {
      await postgres[Symbol.asyncDispose]();
    });

    for (const poolMode of ['session', 'transaction'] as const) {
      for (const queryMode of ['simple', 'extended', 'prepared'] as const) {
        for (const reconnect of [false, true]) {
          test(`${poolMode} mode, ${queryMode}${reconnect ? ', a connection for each transaction (-C)' : ''}`, async () => {
            // In session mode each client keeps a server connection from its login on, and pgbench logs all in before it begins.
            await using proxy = await startProxy(postgres, {
              poolMode,
              poolSize: poolMode === 'session' ? CLIENTS : 3,
            });
            expect((await pgbench(postgres.port, ['-i', '-q', '-s', '1'])).code).toBe(0);
            const load = ['-n', '-M', queryMode, '-c', String(CLIENTS), '-t', String(TRANSACTIONS_PER_CLIENT)];
            const run = await pgbench(proxy.port, reconnect ? [...load, '-C'] : load);
            expect(run.err).toBe('');
            expect(run.code).toBe(0);
            const wanted = CLIENTS * TRANSACTIONS_PER_CLIENT;
            expect(run.out).toContain(`number of transactions actually processed: ${wanted}/${wanted}`);
            expect(run.out).not.toMatch(/number of failed transactions: [1-9]/);
            const sums = (await postgres.sql(SUMS))[0] as Record<string, string | number>;
            expect(sums['transactions']).toBe(wanted);
            expect([sums['tellers'], sums['branches'], sums['history']]).toEqual(
              Array(3).fill(sums['accounts']) as string[],
            );
          });
        }
      }
    }
  });
}

async function pgbench(port: number, options: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn(
    [clientProgram('pgbench'), '-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', ...options, 'postgres'],
    { env: { ...process.env, PGSSLMODE: 'disable' }, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  );
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}
