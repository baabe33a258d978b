import { expect, test } from 'bun:test';
import { Fault } from '../base/fault.ts';
import { parseConnectionString } from './connection-string.ts';
import { readTlsFiles } from './tls-files.ts';

const disk = {
  readText: (path: string) =>
    path.startsWith('/there/') ? Promise.resolve(`PEM of ${path}`) : Promise.reject(new Error('ENOENT')),
};

test('the files that a connection string names are read, the others not', async () => {
  const read = (query: string): Promise<object> =>
    readTlsFiles(parseConnectionString(`postgres://h/db?${query}`), disk);
  expect(await read('')).toEqual({});
  expect(await read('sslrootcert=system')).toEqual({});
  expect(await read('sslrootcert=/there/ca&sslcert=/there/crt&sslkey=/there/key')).toEqual({
    ca: 'PEM of /there/ca',
    cert: 'PEM of /there/crt',
    key: 'PEM of /there/key',
  });
  const fault = await read('sslrootcert=/missing').catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(Fault);
  expect((fault as Fault).message).toBe('cannot read sslrootcert file "/missing"');
});
