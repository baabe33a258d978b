// How long an edge takes to know where a statement is answered that it has seen before: texts of one template with other
// constants each time, and prepared texts. CPU time of this process, so that others on the machine do not count.

import { loadParser } from '../src/edge/sql/parse.ts';
import { Planner } from '../src/edge/sql/planner.ts';
import { OID } from '../src/pg/oid.ts';
import { Catalogue } from '../src/replica/catalogue.ts';
import { catalogueImage, tableImage } from '../test/replica-images.ts';
import type { Bench } from './lib/bench.ts';
import { median } from './lib/statistics.ts';

const SESSION = { searchPath: ['public'], key: 'public' };

/** Template and what a client would send: point read, join, report. */
const TEMPLATES: readonly ((index: number) => string)[] = [
  (index) => `SELECT name, age FROM users WHERE id = ${index}`,
  (index) =>
    `SELECT u.name, o.total FROM users u JOIN orders o ON o.user_id = u.id WHERE u.name = 'n${index}' ORDER BY o.id`,
  (index) =>
    `WITH big AS (SELECT user_id, count(*) AS n FROM orders WHERE total > ${index} GROUP BY user_id) SELECT u.name, big.n FROM big JOIN users u ON u.id = big.user_id WHERE big.n > ${index % 7} ORDER BY big.n DESC, u.id`,
];

export const classify: Bench = {
  name: 'classify',
  help: 'how long it takes to know where a statement is answered that was seen before',
  async run(context) {
    await loadParser();
    const users = [
      { name: 'id', typeOid: OID.int4 },
      { name: 'name', typeOid: OID.text },
      { name: 'age', typeOid: OID.int4 },
    ];
    const orders = [
      { name: 'id', typeOid: OID.int4 },
      { name: 'user_id', typeOid: OID.int4 },
      { name: 'total', typeOid: OID.int4 },
    ];
    const catalogue = new Catalogue(
      catalogueImage([
        tableImage({ oid: 20_001, name: 'users', columns: users }),
        tableImage({ oid: 20_002, name: 'orders', columns: orders }),
      ]),
    );
    const planner = new Planner(() => catalogue);
    const rounds = context.quick ? 3 : 9;
    const each = context.quick ? 20_000 : 100_000;
    const time = (run: (index: number) => void): number => {
      const rates: number[] = [];
      for (let round = 0; round <= rounds; round += 1) {
        const before = process.cpuUsage();
        for (let index = 0; index < each; index += 1) run(index);
        // The first round warms up.
        const { user, system } = process.cpuUsage(before);
        if (round > 0) rates.push((user + system) / each);
      }
      return median(rates);
    };
    const texts = TEMPLATES.map((template) => Array.from({ length: 1_000 }, (_, index) => template(index)));
    for (const [text] of texts) {
      const kind = planner.script(text as string, SESSION).statements[0]?.plan.kind;
      if (kind !== 'local') throw new Error(`not answered at the edge: ${text}`);
    }
    const simple = texts.map((some) => time((index) => void planner.script(some[index % 1_000] as string, SESSION)));
    const prepared = 'SELECT name, age FROM users WHERE id = $1';
    const names = ['a point read', 'a join', 'a report with WITH'];
    return [
      ...simple.map((measured, index) => ({
        name: `${names[index]}, other constants each time`,
        unit: 'µs' as const,
        measured,
        target: { kind: 'at-most' as const, value: 2 },
      })),
      {
        name: 'a prepared text',
        unit: 'µs',
        measured: time(() => void planner.statement(prepared, [], SESSION)),
        target: { kind: 'at-most', value: 2 },
      },
    ];
  },
};
