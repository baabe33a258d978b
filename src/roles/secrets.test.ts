import { describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/harness.ts';
import { readSecretFile, readUsersFile, withCredentials } from './secrets.ts';

describe('credentials are put into a URL that has none', () => {
  test.each([
    ['postgres://h:1/db', 'postgres://u:p%2F%40@h:1/db'],
    ['postgres://own:secret@h/db', 'postgres://own:secret@h/db'],
    ['postgresql:///db?host=/tmp', 'postgresql://u:p%2F%40@/db?host=/tmp'],
  ])('%s', (url, expected) => {
    expect(withCredentials(url, 'u', 'p/@')).toBe(expected);
  });

  test('what is no URL is refused without being repeated', () => {
    expect(() => withCredentials('password=hunter2', 'u', 'p')).toThrow('begins with postgres://');
  });
});

test('secrets are read from files: first line, users line by line', () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'f');
  writeFileSync(file, 'first\nsecond\n');
  expect(readSecretFile(file)).toBe('first');
  writeFileSync(file, '# people\nann:pass:word\n\nbob:SCRAM-SHA-256$4096:x\n');
  expect(readUsersFile(file)).toEqual([
    ['ann', 'pass:word'],
    ['bob', 'SCRAM-SHA-256$4096:x'],
  ]);
  writeFileSync(file, 'no colon\n');
  expect(() => readUsersFile(file)).toThrow('user:password');
  expect(() => readSecretFile(join(folder.path, 'gone'))).toThrow('there is no file');
});
