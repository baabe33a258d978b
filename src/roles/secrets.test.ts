import { expect, test } from 'bun:test';
import { withCredentials } from './secrets.ts';

test('user and password are put into a URL, each only where it has none', () => {
  const check = (url: string, expected: string): void => expect(withCredentials(url, 'peer', 'p@ss')).toBe(expected);
  check('postgres://host:1/db', 'postgres://peer:p%40ss@host:1/db');
  check('postgres://other@host:1/db', 'postgres://other:p%40ss@host:1/db');
  check('postgres://other:own@host:1/db', 'postgres://other:own@host:1/db');
  expect(withCredentials('postgres://host/db', 'peer', '')).toBe('postgres://peer@host/db');
});
