import { expect, test } from 'bun:test';
import { sessionWorld } from '../../test/session-world.ts';
import * as frames from '../../test/wire-frames.ts';
import { parseConnectionString } from '../session/connection-string.ts';
import { connectUpstream, type StreamReceiver, UPSTREAM_TIMINGS } from './upstream.ts';

const world = sessionWorld();

/** A server that lets anybody in and answers START_REPLICATION with `stream`, all of it in one piece. */
async function serve(stream: Uint8Array): Promise<AsyncDisposable & { readonly port: number }> {
  const ready = frames.join(
    frames.authenticationOk(),
    frames.parameterStatus('server_version', '15.4'),
    frames.backendKeyData(1, [1, 2, 3, 4]),
    frames.readyForQuery('I'),
  );
  const answers = [ready, frames.join(frames.copyBothResponse(), stream)];
  return await world.net.listen({
    host: '127.0.0.1',
    port: 0,
    accept: (connection) => {
      connection.handler = {
        data: () => {
          const answer = answers.shift();
          if (answer !== undefined) connection.write(answer);
        },
        close: () => {},
      };
    },
  });
}

/** Runs a receiver that breaks at message `broken`; gives what it was handed, and whether it was to commit after that. */
async function received(broken: string, how: 'throws' | 'rejects'): Promise<string[]> {
  const payloads = ['one', 'two', 'three', 'four'];
  await using server = await serve(
    frames.join(
      ...payloads.map((payload, index) => frames.xlogData(BigInt(index), BigInt(index), 0n, Buffer.from(payload))),
      frames.keepalive(99n, 0n, false),
    ),
  );
  const messages: string[] = [];
  const receiver: StreamReceiver = {
    message: (buffer, start, end) => {
      messages.push(buffer.toString('latin1', start, end));
      if (messages.at(-1) !== broken) return null;
      if (how === 'throws') throw new Error('cannot be applied');
      return Promise.reject(new Error('cannot be applied'));
    },
    keepalive: () => {
      messages.push('keepalive');
    },
    flush: () => {
      if (how === 'throws' && messages.includes(broken)) messages.push('flush');
      return null;
    },
    positions: () => ({ written: 0n, flushed: 0n, applied: 0n }),
  };
  const target = parseConnectionString(`postgres://me@127.0.0.1:${server.port}/db?sslmode=disable`);
  await using upstream = await connectUpstream(world, { target, serverMajorMin: 0 });
  const start = { slot: 's', from: 0n, publications: ['p'], protocolVersion: 1, streaming: false } as const;
  await expect(upstream.stream(start, receiver, UPSTREAM_TIMINGS, new AbortController().signal)).rejects.toThrow(
    'cannot be applied',
  );
  return messages;
}

test('INVARIANT_I3: after a message that could not be taken nothing that came with it is looked at: it would be past a gap', async () => {
  expect(await received('two', 'throws')).toEqual(['one', 'two']);
  expect(await received('two', 'rejects')).toEqual(['one', 'two']);
});

test('INVARIANT_I3: while a message is waited for nothing else is delivered, however soon a flush would be done', async () => {
  await using server = await serve(
    frames.join(
      ...['one', 'two', 'three'].map((payload, index) =>
        frames.xlogData(BigInt(index), BigInt(index), 0n, Buffer.from(payload)),
      ),
    ),
  );
  const events: string[] = [];
  const stopping = new AbortController();
  const receiver: StreamReceiver = {
    message: (buffer, start, end) => {
      const payload = buffer.toString('latin1', start, end);
      events.push(payload);
      if (payload === 'three') stopping.abort();
      return payload === 'two' ? world.clock.sleep(50).then(() => void events.push('two is done')) : null;
    },
    keepalive: () => {},
    flush: () => world.clock.sleep(1),
    positions: () => ({ written: 0n, flushed: 0n, applied: 0n }),
  };
  const target = parseConnectionString(`postgres://me@127.0.0.1:${server.port}/db?sslmode=disable`);
  await using upstream = await connectUpstream(world, { target, serverMajorMin: 0 });
  const start = { slot: 's', from: 0n, publications: ['p'], protocolVersion: 1, streaming: false } as const;
  await upstream.stream(start, receiver, UPSTREAM_TIMINGS, stopping.signal);
  expect(events).toEqual(['one', 'two', 'two is done', 'three']);
});
