// Reads the PEM files that a connection string names.
//
//   tls-file-unreadable   a certificate or key file is missing

import { Fault } from '../base/fault.ts';
import type { ConnectionTarget, TlsTexts } from './connection-string.ts';

/** The target with its PEM files read. `readText` gives null for a file that is not there. */
export function withTlsFiles(target: ConnectionTarget, readText: (path: string) => string | null): ConnectionTarget {
  return { ...target, tls: tlsTextsOf(target, readText) };
}

/** The PEM texts alone; `sslrootcert=system` means the system's CAs, which need no file. */
export function tlsTextsOf(target: ConnectionTarget, readText: (path: string) => string | null): TlsTexts {
  const read = (setting: string, path: string | null): string | null => {
    if (path === null || path === 'system') return null;
    const text = readText(path);
    if (text !== null) return text;
    throw new Fault('tls-file-unreadable', {
      message: `there is no file "${path}", which ${setting} names`,
      hint: 'check the path in the connection string',
      sqlstate: '08001',
    });
  };
  const ca = read('sslrootcert', target.sslRootCert);
  const cert = read('sslcert', target.sslCert);
  const key = read('sslkey', target.sslKey);
  return { ...(ca === null ? {} : { ca }), ...(cert === null ? {} : { cert }), ...(key === null ? {} : { key }) };
}
