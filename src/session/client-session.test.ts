// ClientSession against servers that misbehave. A scripted server answers with frames of the independent builder.

import { describe, expect, test } from 'bun:test';
import { OTHER_CA, SERVER_CERT, SERVER_KEY } from '../../test/certificates.ts';
import { waitFor } from '../../test/harness.ts';
import { sessionWorld } from '../../test/session-world.ts';
import * as frames from '../../test/wire-frames.ts';
import type { Fault } from '../base/fault.ts';
import type { Connection } from '../base/net.ts';
import { type ClientOptions, ClientSession } from './client-session.ts';
import { parseConnectionString } from './connection-string.ts';

const world = sessionWorld();

const READY = frames.join(
  frames.authenticationOk(),
  frames.parameterStatus('server_version', '15.4'),
  frames.backendKeyData(1, [1, 2, 3, 4]),
  frames.readyForQuery('I'),
);

/** What to answer to the n-th chunk of bytes; `close` closes, null stays silent. */
type Step = Uint8Array | 'close' | 'tls' | null;

interface ScriptedServer extends AsyncDisposable {
  readonly port: number;
  readonly connections: Connection[];
  /** All that was received, as text. */
  received: string;
  chunks: number;
}

async function serve(...steps: Step[]): Promise<ScriptedServer> {
  const connections: Connection[] = [];
  const listener = await world.net.listen({
    host: '127.0.0.1',
    port: 0,
    accept: (connection) => {
      connections.push(connection);
      let at = 0;
      connection.handler = {
        data: (chunk) => {
          server.received += Buffer.from(chunk).toString('latin1');
          server.chunks += 1;
          const step = steps[at];
          at += 1;
          if (step === 'close') connection.end();
          else if (step === 'tls') {
            connection.write(Buffer.from('S'));
            connection.startTlsServer({ cert: SERVER_CERT, key: SERVER_KEY }).catch(() => {});
          } else if (step !== null && step !== undefined) connection.write(step);
        },
        close: () => {},
      };
    },
  });
  const server: ScriptedServer = {
    port: listener.port,
    connections,
    received: '',
    chunks: 0,
    [Symbol.asyncDispose]: () => {
      listener.stop();
      for (const connection of connections) connection.destroy();
      return Promise.resolve();
    },
  };
  return server;
}

function connect(server: ScriptedServer, query = '', more: Partial<ClientOptions> = {}): Promise<ClientSession> {
  const url = `postgres://me:hunter2@127.0.0.1:${server.port}/db?sslmode=disable&connect_timeout=0.3&${query}`;
  return ClientSession.connect(world, { target: parseConnectionString(url), ...more });
}

const faultOf = async (promise: Promise<unknown>): Promise<Fault> => {
  const outcome = await promise.catch((error: unknown) => error);
  if (outcome instanceof ClientSession) outcome.destroy();
  return outcome as Fault;
};

describe('a login', () => {
  test('INVARIANT_I10: to a server that is not one, that lies or that falls silent, ends with a clear fault', async () => {
    const scram = frames.authenticationSasl('SCRAM-SHA-256');
    const cases: [name: string, steps: Step[], code: string, query?: string][] = [
      ['refuses by closing', ['close'], 'connection-lost'],
      ['never answers', [null], 'connect-timeout'],
      ['stops half-way', [scram, null], 'connect-timeout'],
      ['is a web server', [frames.join('HTTP/1.1 400 Bad Request\r\n\r\n')], 'frame-too-long'],
      ['sends an unknown message', [frames.frame('!')], 'protocol-violation'],
      ['sends rows at once', [frames.dataRow(['1'])], 'protocol-violation'],
      ['is ready without authentication', [frames.readyForQuery('I')], 'protocol-violation'],
      ['sends a frame too long', [frames.join('R', frames.i32(1_000_000))], 'frame-too-long'],
      ['sends a frame too short', [frames.join('R', frames.i32(2))], 'frame-malformed'],
      [
        'authenticates twice',
        [frames.join(frames.authenticationOk(), frames.authenticationOk())],
        'protocol-violation',
      ],
      ['wants Kerberos', [frames.frame('R', frames.i32(7))], 'authentication-unsupported'],
      ['wants an unknown mechanism', [frames.authenticationSasl('OTHER')], 'authentication-unsupported'],
      ['wants the clear password', [frames.authenticationCleartext()], 'cleartext-refused'],
      ['skips the proof', [scram, READY], 'server-unproven'],
      ['asks again after SCRAM began', [scram, frames.authenticationMd5([1, 2, 3, 4])], 'server-unproven'],
      ['downgrades to clear text', [scram, frames.authenticationCleartext()], 'server-unproven'],
      ['continues what never began', [frames.authenticationSaslContinue('r=x')], 'server-unproven'],
      ['finishes what never began', [frames.authenticationSaslFinal('v=x')], 'server-unproven'],
      ['sends nonsense for a challenge', [scram, frames.authenticationSaslContinue('nonsense')], 'server-unproven'],
      ['speaks a newer version', [frames.negotiateProtocolVersion(0x30002, [])], 'protocol-violation'],
      ['speaks version 2', [frames.negotiateProtocolVersion(0x20000, [])], 'protocol-violation'],
      [
        'is too old',
        [
          frames.join(
            frames.authenticationOk(),
            frames.parameterStatus('server_version', '9.6.1'),
            frames.readyForQuery('I'),
          ),
        ],
        'server-too-old',
      ],
      [
        'is full',
        [frames.errorResponse({ S: 'FATAL', V: 'FATAL', C: '53300', M: 'sorry, too many clients' })],
        'server-full',
      ],
      [
        'is starting',
        [frames.errorResponse({ S: 'FATAL', V: 'FATAL', C: '57P03', M: 'starting up' })],
        'server-unready',
      ],
      ['has no TLS', [frames.join('N')], 'tls-refused', 'sslmode=require'],
      ['answers nonsense to the TLS request', [frames.join('X')], 'tls-refused', 'sslmode=prefer'],
      ['sends clear text after its yes', [frames.join('S', READY)], 'server-unproven', 'sslmode=require'],
      ['breaks the handshake', [frames.join('S'), frames.join('not TLS at all')], 'tls-failed', 'sslmode=require'],
    ];
    for (const [name, steps, code, query] of cases) {
      await using server = await serve(...steps);
      const fault = await faultOf(connect(server, query));
      expect([name, fault.code]).toEqual([name, code]);
      expect(`${fault.message} ${fault.hint} ${fault.stack}`).not.toContain('hunter2');
      expect(server.received).not.toContain('hunter2');
    }
  });

  test('split at every byte succeeds', async () => {
    await using server = await serve();
    const connecting = connect(server);
    const connection = await waitFor('the connection', () => server.connections[0]);
    await waitFor('the startup packet', () => server.chunks > 0);
    for (const byte of READY) {
      connection.write(Uint8Array.of(byte));
      await Bun.sleep(0);
    }
    await using session = await connecting;
    expect(session.parameters.get('server_version')).toBe('15.4');
    expect(session.backendKey).toEqual({ processId: 1, secretKey: Buffer.from([1, 2, 3, 4]) });
  });

  test.each([
    // The encoding of a URL is that of a person's terminal; we read what comes.
    [{}, { client_encoding: 'UTF8' }],
    // Whoever only passes bytes on says what they are, or that the database is to decide.
    [{ client_encoding: 'LATIN1' }, { client_encoding: 'LATIN1' }],
    [{ client_encoding: '' }, {}],
  ])('sends what Postgres expects (parameters %j)', async (parameters, encoding) => {
    await using server = await serve(READY);
    await using session = await connect(server, 'application_name=x&options=-c%20a%3Db&client_encoding=LATIN2', {
      replication: 'database',
      parameters,
    });
    const expected = frames.startup({
      user: 'me',
      database: 'db',
      ...encoding,
      application_name: 'x',
      options: '-c a=b',
      replication: 'database',
    });
    expect(server.received).toBe(Buffer.from(expected).toString('latin1'));
    expect(session.transactionStatus).toBe('I');
  });

  test('ignores notices, unknown fields and repeated parameters', async () => {
    await using server = await serve(
      frames.join(
        frames.noticeResponse({ S: 'NOTICE', C: '00000', M: 'hello', '!': 'new' }),
        frames.authenticationOk(),
        frames.parameterStatus('a', '1'),
        frames.parameterStatus('a', '2'),
        frames.noticeResponse({ S: 'NOTICE', C: '00000', M: 'again' }),
        frames.readyForQuery('I'),
      ),
    );
    await using session = await connect(server);
    expect([session.parameters.get('a'), session.backendKey]).toEqual(['2', null]);
    await session.cancel();
  });

  test('does not trust a certificate of an unknown CA when asked to verify', async () => {
    await using server = await serve('tls');
    const fault = await faultOf(connect(server, 'sslmode=verify-ca', { tls: { ca: OTHER_CA } }));
    expect(fault.code).toBe('tls-untrusted');
  });
});

describe('a session', () => {
  const answer = frames.join(
    frames.rowDescription([{ name: 'a', type: 25 }]),
    frames.dataRow(['1']),
    frames.dataRow([null]),
    frames.commandComplete('SELECT 2'),
    frames.readyForQuery('I'),
  );

  test('reads an answer that arrives byte by byte', async () => {
    await using server = await serve(READY);
    await using session = await connect(server);
    const asking = session.query('select');
    await waitFor('the query', () => server.chunks === 2);
    for (const byte of answer) {
      server.connections[0]?.write(Uint8Array.of(byte));
      if (byte % 5 === 0) await Bun.sleep(0);
    }
    expect((await asking).rows).toEqual([['1'], [null]]);
  });

  test('whose server talks nonsense is closed with a fault', async () => {
    const nonsense: [string, Uint8Array, string][] = [
      ['a negative length', frames.join('D', frames.i32(-1)), 'frame-malformed'],
      ['a gigantic frame', frames.join('D', frames.i32(0x7fffffff)), 'frame-too-long'],
      ['a malformed description', frames.frame('T', frames.i16(5)), 'frame-malformed'],
      ['a row that runs past its message', frames.frame('D', frames.i16(1), frames.i32(100), 'x'), 'connection-lost'],
      ['a close in the middle', frames.dataRow(['1']).slice(0, 4), 'connection-lost'],
    ];
    for (const [name, bytes, code] of nonsense) {
      await using server = await serve(READY, bytes);
      await using session = await connect(server);
      const asking = faultOf(session.query('select'));
      if (code === 'connection-lost') {
        await waitFor('the query', () => server.chunks === 2);
        server.connections[0]?.end();
      }
      expect([name, (await asking).code]).toEqual([name, code]);
      expect((await faultOf(session.query('select'))).code).toBe(code);
      expect(session.closed).toBe(true);
    }
  });

  test('that dies tells each of those who wait, once', async () => {
    await using server = await serve(READY);
    await using session = await connect(server);
    const waiting = [1, 2, 3].map(() => faultOf(session.query('select')));
    await waitFor('the query', () => server.chunks === 2);
    server.connections[0]?.destroy();
    expect((await Promise.all(waiting)).map(({ code }) => code)).toEqual(Array(3).fill('connection-lost'));
  });

  test('closes with a goodbye, and does not wait for ever for the answer', async () => {
    await using server = await serve(READY);
    const session = await connect(server);
    await session.close();
    const goodbye = Buffer.from(frames.terminate()).toString('latin1');
    await waitFor('the goodbye', () => server.received.endsWith(goodbye));
    expect((await faultOf(session.query('select'))).code).toBe('connection-lost');
    await session.close();
  });
});
