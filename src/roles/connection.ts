// Where to connect, with the certificate files that the connection string names.

import { readTextFile } from '../runtime/files.ts';
import { type ConnectionDefaults, type ConnectionTarget, parseConnectionString } from '../session/connection-string.ts';
import { withTlsFiles } from '../session/tls-files.ts';

/** Throws Fault `connection-string-invalid` or `tls-file-unreadable`. */
export function connectionTarget(url: string, defaults: ConnectionDefaults = {}): ConnectionTarget {
  return withTlsFiles(parseConnectionString(url, defaults), readTextFile);
}
