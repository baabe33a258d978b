import { expect, test } from 'bun:test';
import { edgeSqlPage } from '../../../../test/edge-sql-reference.ts';

const PATH = `${import.meta.dir}/../../../../docs/reference/edge-sql.md`;

test('docs/reference/edge-sql.md is what the rows say (UPDATE_REFERENCE=1 writes it)', async () => {
  if (process.env['UPDATE_REFERENCE'] === '1') await Bun.write(PATH, edgeSqlPage());
  expect(await Bun.file(PATH).text()).toBe(edgeSqlPage());
});
