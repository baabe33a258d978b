// Reads the PEM files that a connection string names.
//
//   tls-file-unreadable   a certificate or key file is missing or cannot be read

import type { Disk } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';
import type { ClientOptions } from './client-login.ts';
import type { ConnectionTarget } from './connection-string.ts';

/** For `ClientOptions.tls`; `sslrootcert=system` means the system's CAs, which need no file. */
export async function readTlsFiles(
  target: ConnectionTarget,
  disk: Pick<Disk, 'readText'>,
): Promise<NonNullable<ClientOptions['tls']>> {
  const read = async (setting: string, path: string | null): Promise<string | null> => {
    if (path === null || path === 'system') return null;
    try {
      return await disk.readText(path);
    } catch (cause) {
      throw new Fault('tls-file-unreadable', {
        message: `cannot read ${setting} file "${path}"`,
        hint: 'check the path and its permissions',
        sqlstate: '08001',
        cause,
      });
    }
  };
  const ca = await read('sslrootcert', target.sslRootCert);
  const cert = await read('sslcert', target.sslCert);
  const key = await read('sslkey', target.sslKey);
  return { ...(ca === null ? {} : { ca }), ...(cert === null ? {} : { cert }), ...(key === null ? {} : { key }) };
}
