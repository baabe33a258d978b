import { expect, test } from 'bun:test';
import { Fault } from '../base/fault.ts';
import { parseConnectionString } from './connection-string.ts';
import { withTlsFiles } from './tls-files.ts';

const readText = (path: string): string | null => (path.startsWith('/there/') ? `PEM of ${path}` : null);

test('the files that a connection string names are read, the others not', () => {
  const read = (query: string): object => withTlsFiles(parseConnectionString(`postgres://h/db?${query}`), readText).tls;
  expect(read('')).toEqual({});
  expect(read('sslrootcert=system')).toEqual({});
  expect(read('sslrootcert=/there/ca&sslcert=/there/crt&sslkey=/there/key')).toEqual({
    ca: 'PEM of /there/ca',
    cert: 'PEM of /there/crt',
    key: 'PEM of /there/key',
  });
  expect(() => read('sslrootcert=/missing')).toThrow(Fault);
});
