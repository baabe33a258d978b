// Reads the files that hold secrets: passwords never stand in a command line, an environment variable or a log.
//
// Faults (code: what the operator reads in it)
//   secret-missing    a file with a password is not there or cannot be read

import { Fault } from '../base/fault.ts';
import { readTextFile } from '../runtime/files.ts';

/** First line of the file; '' when no file is named. */
export function readSecretFile(path: string): string {
  return path === '' ? '' : (mustRead(path).split('\n')[0] as string).trim();
}

/** `user:secret` lines of the file, comments and empty lines left out; none when no file is named. */
export function readUsersFile(path: string): [user: string, secret: string][] {
  if (path === '') return [];
  return mustRead(path)
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const colon = line.indexOf(':');
      if (colon < 1) throw new Fault('config-value', { message: `${path}: expected lines of the form user:password` });
      return [line.slice(0, colon), line.slice(colon + 1)];
    });
}

/** The postgres:// URL with user and password put in, each where it has none. */
export function withCredentials(url: string, user: string, password: string): string {
  const found = /^(postgres(?:ql)?:\/\/)(?:([^@/?]*)@)?(.*)$/s.exec(url);
  if (found === null)
    throw new Fault('connection-string-invalid', { message: 'the URL of a relay begins with postgres://' });
  const own = found[2] ?? encodeURIComponent(user);
  const credentials = own.includes(':') || password === '' ? own : `${own}:${encodeURIComponent(password)}`;
  return `${found[1]}${credentials}@${found[3]}`;
}

function mustRead(path: string): string {
  const text = readTextFile(path);
  if (text === null)
    throw new Fault('secret-missing', {
      message: `there is no file ${path}`,
      hint: 'check the name; `skerry up` makes its own secrets',
    });
  return text;
}
