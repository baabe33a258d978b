// pgproto (of Pgpool-II) speaks the protocol message by message: conversations of our own (pgproto/*.data), each with a fresh
// database, directly and through the proxy in both pool modes. What the server says must be the same, word for word.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { startPostgres, type TestPostgres } from '../harness.ts';
import { startProxy } from '../proxy.ts';
import { DebianArchive, madeOnce, orSkip } from './debian.ts';

/** A conversation takes milliseconds; one that waits for an answer that never comes ends here. */
const TIMEOUT_SECONDS = 20;

/**
 * RESET ALL and DISCARD ALL take a pooled connection's application_name back to none, and the proxy's client hears so: the name
 * is no startup parameter of server connections, or each name would need connections of its own.
 */
const RESETS_NAME = 'reset.data';

const CONVERSATIONS = join(import.meta.dir, 'pgproto');

/** The installed program, or the one out of Debian's package. */
const pgproto = await orSkip('pgproto', async () => {
  const installed = Bun.which('pgproto', { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` });
  if (installed !== null) return installed;
  const folder = await madeOnce('pgpool2', (at) => new DebianArchive(at).unpack('pgpool2', null, join(at, 'package')));
  return join(folder, 'package', 'usr', 'sbin', 'pgproto');
});

if (pgproto === null) test.skip('pgproto', () => {});
else {
  describe('pgproto', () => {
    let postgres: TestPostgres;
    beforeAll(async () => {
      postgres = await startPostgres({ version: '15' });
    });
    afterAll(async () => {
      await postgres[Symbol.asyncDispose]();
    });

    for (const file of readdirSync(CONVERSATIONS).sort()) {
      for (const poolMode of ['session', 'transaction'] as const) {
        test(`${file}, ${poolMode} mode`, async () => {
          const name = `${file.replace(/\W/g, '_')}_${poolMode}`;
          await using proxy = await startProxy(postgres, { poolMode });
          await postgres.sql(`create database direct_${name}`);
          await postgres.sql(`create database proxied_${name}`);
          const direct = await converse(pgproto, postgres.port, `direct_${name}`, file);
          const proxied = await converse(pgproto, proxy.port, `proxied_${name}`, file);
          const said = (line: string): boolean => file !== RESETS_NAME || line !== '<= BE ParameterStatus';
          expect(proxied.filter(said)).toEqual(direct.filter(said));
          expect(direct.some((line) => line.includes('ReadyForQuery'))).toBe(true);
        });
      }
    }
  });
}

/** What the server said. When `y` reads depends on time, so where our own words stand between the answers is left out. */
async function converse(program: string, port: number, database: string, file: string): Promise<string[]> {
  const target = ['-h', '127.0.0.1', '-p', String(port), '-u', 'postgres', '-d', database];
  const child = Bun.spawn(['timeout', String(TIMEOUT_SECONDS), program, ...target, '-f', join(CONVERSATIONS, file)], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`pgproto ended with code ${code}:\n${out}\n${err}`);
  return `${out}\n${err}`.split('\n').filter((line) => line.startsWith('<= BE'));
}
