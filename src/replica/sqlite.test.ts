import { expect, test } from 'bun:test';
import { Sqlite } from './sqlite.ts';

test('rows come one by one in the order of their columns, whatever the columns are called', () => {
  using sqlite = new Sqlite(':memory:', { mode: 'create' });
  sqlite.exec('CREATE TABLE t (a, b)');
  sqlite.exec("INSERT INTO t VALUES (1, 'x'), (2, 'y')");
  for (const sql of [
    'SELECT a AS c1, b AS c0 FROM t',
    'SELECT a AS "1", b AS "0" FROM t',
    'SELECT a AS x, b AS x FROM t',
  ]) {
    expect([...sqlite.prepare(sql).iterate([])]).toEqual([
      [1, 'x'],
      [2, 'y'],
    ]);
  }
});

test('leaving a loop over rows ends the statement', () => {
  using sqlite = new Sqlite(':memory:', { mode: 'create' });
  sqlite.exec('CREATE TABLE t (a)');
  sqlite.exec('INSERT INTO t VALUES (1), (2)');
  const statement = sqlite.prepare('SELECT a FROM t');
  for (const row of statement.iterate([])) {
    expect(row).toEqual([1]);
    break;
  }
  sqlite.exec('DROP TABLE t');
});

test('a lookup without a row gives null', () => {
  using sqlite = new Sqlite(':memory:', { mode: 'create' });
  expect(sqlite.prepare('SELECT 1 WHERE 0').get([])).toBeNull();
  expect(sqlite.value('SELECT 1 WHERE 0')).toBeNull();
});

test('a closed connection leaves no side files open, and a missing file is a fault', () => {
  expect(() => new Sqlite('/nonexistent/x.db', { mode: 'read' })).toThrow('cannot open');
});
