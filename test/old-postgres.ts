// A PostgreSQL of another version, as far as it gets with us: it refuses TLS, lets everybody in without a password, says its
// version, and ends when it is asked anything. Its frames are built by hand (wire-frames.ts).

import { createServer, type Server } from 'node:net';
import { authenticationOk, backendKeyData, join, parameterStatus, readyForQuery } from './wire-frames.ts';

export interface OldPostgres extends AsyncDisposable {
  readonly url: string;
  /** Messages that came after the login. */
  readonly asked: number;
}

const SSL_REQUEST = 80_877_103;

export async function startOldPostgres(version: string): Promise<OldPostgres> {
  let asked = 0;
  const server: Server = createServer((socket) => {
    let started = false;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      if (chunk.length >= 8 && chunk.readInt32BE(4) === SSL_REQUEST) {
        socket.write('N');
      } else if (started) {
        // A Terminate is no question.
        if (chunk[0] !== 0x58) asked += 1;
        socket.end();
      } else {
        started = true;
        socket.write(
          join(
            authenticationOk(),
            parameterStatus('server_version', version),
            parameterStatus('server_encoding', 'UTF8'),
            parameterStatus('client_encoding', 'UTF8'),
            parameterStatus('integer_datetimes', 'on'),
            parameterStatus('standard_conforming_strings', 'on'),
            backendKeyData(4242, [1, 2, 3, 4]),
            readyForQuery('I'),
          ),
        );
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    get asked() {
      return asked;
    },
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
