// Reads the files that hold secrets: passwords never stand in a command line, an environment variable or a log.
//
// Faults (code: what the operator reads in it)
//   secret-missing    a file with a password, a certificate or a key is not there
//   tls-required      an address that other machines reach, and no certificate

import { Fault } from '../base/fault.ts';
import type { TlsServerOptions } from '../base/net.ts';
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

/** Certificate and key of a server; null when none are named. */
export function readServerTls(files: {
  readonly tlsCert: string;
  readonly tlsKey: string;
  readonly tlsCa: string;
}): TlsServerOptions | null {
  if (files.tlsCert === '' && files.tlsKey === '') return null;
  if (files.tlsCert === '' || files.tlsKey === '') {
    throw new Fault('config-missing', {
      message: 'tls_cert and tls_key belong together, and one is not set',
    });
  }
  const ca = files.tlsCa === '' ? {} : { ca: mustRead(files.tlsCa) };
  return { cert: mustRead(files.tlsCert), key: mustRead(files.tlsKey), ...ca };
}

/** Throws when a role would listen beyond this machine without TLS (I11). */
export function requireTls(host: string, tls: TlsServerOptions | null): void {
  if (tls !== null || host === 'localhost' || host === '::1' || host.startsWith('127.')) return;
  throw new Fault('tls-required', {
    message: `nothing listens on ${host} without TLS`,
    hint: 'set tls_cert and tls_key, or listen on 127.0.0.1',
  });
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
