// What a session has seen it goes on seeing: own writes, tokens carried from one PoP to another, bounds for the age of answers.
// Two edges of one core and relay, each of which can be held back.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { type FollowingEdge, startFollowingEdge, startTestEdge, type TestEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { startRelay, type TestRelay, upstreamOf, upstreamRelay } from '../../test/relay.ts';
import { formatToken, parseToken } from './token.ts';

const READ = 'SELECT n FROM counter WHERE id = 1';

let postgres: TestPostgres;
let relay: TestRelay;
let near: FollowingEdge;
let far: FollowingEdge;
/** Follows nobody: its position, timeline and age are what the test says. */
let still: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql('CREATE TABLE counter (id int PRIMARY KEY, n int); INSERT INTO counter VALUES (1, 0)');
  still = await startTestEdge(postgres, { rywWaitMs: 20 });
  relay = await startRelay({ upstream: upstreamOf(postgres) });
  near = await startFollowingEdge(postgres, relay, { name: 'near', rywWaitMs: 10_000 });
  far = await startFollowingEdge(postgres, relay, { name: 'far', rywWaitMs: 10_000 });
});

afterAll(async () => {
  await near?.[Symbol.asyncDispose]();
  await far?.[Symbol.asyncDispose]();
  await still?.[Symbol.asyncDispose]();
  await relay?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

interface Client extends AsyncDisposable {
  /** The first value of the answer. */
  ask(sql: string): Promise<string>;
  /** Where the previous answer came from: `local`, `forwarded` … */
  by(): Promise<string>;
  untilLocal(): Promise<void>;
  cancel(): Promise<void>;
}

async function connect(edge: { readonly url: string; readonly port: number }, options = ''): Promise<Client> {
  const client = new pg.Client({ connectionString: edge.url, options });
  client.on('error', () => {});
  await client.connect();
  const ask = async (sql: string): Promise<string> => {
    const result: unknown = await client.query({ text: sql, rowMode: 'array' });
    // Of several statements the last.
    const { rows } = (Array.isArray(result) ? result.at(-1) : result) as { rows: (string | number | null)[][] };
    return String(rows[0]?.[0] ?? '');
  };
  return {
    ask,
    by: async () => (await ask('SHOW skerry.answered_by')).split(':', 1)[0] ?? '',
    cancel: () => cancel(edge, client as unknown as BackendKey),
    untilLocal: async () => {
      await waitFor('an answer from the replica', async () => {
        await ask(READ);
        return (await ask('SHOW skerry.answered_by')).startsWith('local');
      });
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** The edge falls behind until it is released. */
async function held(edge: FollowingEdge): Promise<Disposable> {
  await edge.control.hold(60_000);
  return { [Symbol.dispose]: () => edge.control.release() };
}

interface BackendKey {
  readonly processID: number;
  readonly secretKey: number;
}

async function cancel({ port }: { readonly port: number }, { processID, secretKey }: BackendKey): Promise<void> {
  const request = Buffer.alloc(16);
  [16, 80877102, processID].forEach((word, index) => request.writeInt32BE(word, index * 4));
  request.writeInt32BE(secretKey | 0, 12);
  const socket = createConnection(port, '127.0.0.1');
  await new Promise((resolve) => {
    socket.on('close', resolve);
    socket.on('error', resolve);
    socket.end(request);
  });
}

async function setTo(client: Client, n: number): Promise<void> {
  await client.ask(`UPDATE counter SET n = ${n} WHERE id = 1`);
}

describe('own writes', () => {
  test('a read after a write waits skerry.wait_ms, then it is forwarded; once the replica is there it is local again', async () => {
    await using client = await connect(near, '-c skerry.wait_ms=1ms');
    {
      using _hold = await held(near);
      await setTo(client, 1);
      expect([await client.ask(READ), await client.by()]).toEqual(['1', 'forwarded']);
    }
    await client.untilLocal();
    expect(await client.ask(READ)).toBe('1');
  });

  test('the wait ends when the replica arrives', async () => {
    await using client = await connect(near);
    await client.ask("SET skerry.wait_ms = '1min'");
    const hold = await held(near);
    await setTo(client, 2);
    const read = client.ask(READ);
    hold[Symbol.dispose]();
    expect(await read).toBe('2');
    expect(await client.by()).toBe('local');
  });

  test('a write that changes nothing here does not send reads to the core for ever: the position moves without rows', async () => {
    await using client = await connect(near);
    await client.ask("SELECT pg_logical_emit_message(false, 'x', 'nothing to a replica')");
    await client.untilLocal();
    await setTo(client, 3);
    expect([await client.ask(READ), await client.by()]).toEqual(['3', 'local']);
  });

  test('cancel ends the wait', async () => {
    await using client = await connect(near, '-c skerry.wait_ms=1h');
    using _hold = await held(near);
    await setTo(client, 4);
    const outcome = client.ask(READ).catch((error: unknown) => (error as { code: string }).code);
    let code: string | null = null;
    void outcome.then((value) => {
      code = value;
    });
    await waitFor('the read to be cancelled', async () => {
      await client.cancel();
      return code;
    });
    expect(await outcome).toBe('57014');
  });
});

describe('tokens', () => {
  test('carry own writes to another PoP: it waits, then forwards, and is local when it has them', async () => {
    await using writer = await connect(near);
    const hold = await held(far);
    await setTo(writer, 10);
    const token = await writer.ask('SELECT skerry.token()');
    await using plain = await connect(far, '-c skerry.wait_ms=0');
    expect([await plain.ask(READ), await plain.by()]).toEqual(['4', 'local']);
    await plain.ask(`SET skerry.token = '${token}'`);
    expect([await plain.ask(READ), await plain.by()]).toEqual(['10', 'forwarded']);
    await using other = await connect(far, `-c skerry.token=${token} -c skerry.wait_ms=0`);
    expect([await other.ask(READ), await other.by()]).toEqual(['10', 'forwarded']);
    hold[Symbol.dispose]();
    await other.untilLocal();
    await plain.untilLocal();
    expect([await other.ask(READ), await plain.ask(READ)]).toEqual(['10', '10']);
  });

  test('keep reads monotonic across reconnects: what was read at a PoP ahead is read at one behind', async () => {
    using _hold = await held(far);
    await using writer = await connect(near);
    await setTo(writer, 20);
    expect([await writer.ask(READ), await writer.by()]).toEqual(['20', 'local']);
    await using reader = await connect(near);
    expect([await reader.ask(READ), await reader.by()]).toEqual(['20', 'local']);
    const token = await reader.ask('SHOW skerry.token');
    await using again = await connect(far, `-c skerry.token=${token} -c skerry.wait_ms=1`);
    expect([await again.ask(READ), await again.by()]).toEqual(['20', 'forwarded']);
    // A token of a session with a token never says less.
    expect(parseToken(await again.ask('SHOW skerry.token')).lsn).toBeGreaterThanOrEqual(parseToken(token).lsn);
  });

  test('hold what was only read at the core', async () => {
    using _near = await held(near);
    using _far = await held(far);
    await using writer = await connect(near, '-c skerry.wait_ms=0');
    await setTo(writer, 30);
    await using reader = await connect(near, '-c skerry.wait_ms=0');
    await reader.ask('SET skerry.monotonic_reads = on');
    expect(await reader.ask('SELECT n FROM counter WHERE id = 1 AND random() < 2')).toBe('30');
    expect(await reader.ask(READ)).toBe('30');
    await using other = await connect(near, '-c skerry.wait_ms=0');
    expect(await other.ask('SELECT n FROM counter WHERE id = 1 AND random() < 2')).toBe('30');
    const token = await other.ask('SELECT skerry.token()');
    await using third = await connect(far, `-c skerry.token=${token} -c skerry.wait_ms=0`);
    expect(await third.ask(READ)).toBe('30');
  });

  test('are not forgotten by ROLLBACK, RESET and DISCARD', async () => {
    using _hold = await held(far);
    await using writer = await connect(near);
    await setTo(writer, 40);
    const token = await writer.ask('SELECT skerry.token() AS t');
    await using client = await connect(far, '-c skerry.wait_ms=0');
    await client.ask(`BEGIN; SET skerry.token = '${token}'; ROLLBACK`);
    await client.ask('RESET skerry.token');
    await client.ask('DISCARD ALL');
    expect(await client.ask(READ)).toBe('40');
  });

  test('INVARIANT_I1: of a later timeline ask for a replica of that timeline', async () => {
    const { epoch, position } = still.feed.current;
    const token = formatToken({ epoch: { systemId: epoch?.systemId ?? '', timeline: 2 }, lsn: position });
    await using client = await connect(still, `-c skerry.token=${token} -c skerry.wait_ms=0`);
    expect([await client.ask(READ), await client.by()]).toEqual(['40', 'forwarded']);
    // The session has seen more at the core meanwhile.
    const later = { systemId: epoch?.systemId ?? '', timeline: 2 };
    still.feed.set({ epoch: later, position: position + 0x100_0000n });
    await client.untilLocal();
    still.feed.set({ epoch, position });
  });

  test('INVARIANT_I10: of another system, damaged, or no tokens at all are refused', async () => {
    const foreign = formatToken({ epoch: { systemId: '99', timeline: 1 }, lsn: 5n });
    await using client = await connect(near);
    for (const token of [foreign, foreign.slice(0, -1), 'x', '']) {
      expect(client.ask(`SET skerry.token = '${token}'`)).rejects.toMatchObject({ code: '22023' });
      expect(connect(near, `-c skerry.token=${token}`)).rejects.toMatchObject({ code: '22023' });
    }
    expect(await client.ask(READ)).not.toBe('');
  });

  test('are given in a block of the core, and refused in one that failed', async () => {
    await using client = await connect(near);
    await client.ask('BEGIN');
    await setTo(client, 50);
    expect(await client.ask('SELECT skerry.token()')).toStartWith('sk1.');
    await client.ask('SELECT 1/0').catch(() => {});
    expect(client.ask('SELECT skerry.token()')).rejects.toMatchObject({ code: '25P02' });
    expect(client.ask("SET skerry.wait_ms = '1s'")).rejects.toMatchObject({ code: '25P02' });
    await client.ask('ROLLBACK');
  });
});

describe('skerry.max_lag', () => {
  test('sends reads to the core while answers would be older', async () => {
    await using client = await connect(still, '-c skerry.max_lag=2s');
    expect(await client.ask('SHOW skerry.max_lag')).toBe('2s');
    await client.ask(READ);
    expect(await client.by()).toBe('local');
    still.feed.lag = 2001;
    await client.ask(READ);
    expect(await client.by()).toBe('forwarded');
    expect(await client.ask('SHOW skerry.age')).toBe('2001ms');
    await client.ask('SET skerry.max_lag = -1');
    await client.ask(READ);
    expect(await client.by()).toBe('local');
    await client.ask("BEGIN; SET LOCAL skerry.max_lag = '1s'");
    await client.ask(READ);
    expect(await client.by()).toBe('forwarded');
    await client.ask('COMMIT');
    expect(await client.ask('SHOW skerry.max_lag')).toBe('-1');
    still.feed.lag = 0;
  });

  test('INVARIANT_I10: wrong values and names are refused, at the start too', async () => {
    await using client = await connect(near);
    expect(client.ask("SET skerry.max_lag = 'soon'")).rejects.toMatchObject({ code: '22023' });
    expect(client.ask("SET skerry.nonsense = '1'")).rejects.toMatchObject({ code: '42704' });
    expect(client.ask('SHOW skerry.nonsense')).rejects.toMatchObject({ code: '42704' });
    expect(client.ask("SET skerry.lsn = '0/1'")).rejects.toMatchObject({ code: '55P02' });
    expect(connect(near, '-c skerry.max_lag=soon')).rejects.toMatchObject({ code: '22023' });
    expect(connect(near, '-c skerry.nonsense=1')).rejects.toMatchObject({ code: '42704' });
  });

  test('an idle world stays young: the core is asked and its word passed on; behind a relay that was cut off answers grow old', async () => {
    const link = await tcpLink(postgres.port);
    await using first = await startRelay({
      upstream: upstreamOf(
        { ...postgres, url: `postgres://postgres@127.0.0.1:${link.port}/postgres` },
        { slot: 'aged' },
      ),
    });
    await using second = await startRelay({ name: 'second', upstream: upstreamRelay(first) });
    await using edge = await startFollowingEdge(postgres, second, { name: 'aged' });
    const age = (): number => edge.control.feed.ageMs();
    await waitFor('a proof', () => Number.isFinite(age()));
    const before = edge.control.feed.current.proofs;
    await waitFor('more proofs, although nothing happens', () => edge.control.feed.current.proofs > before + 1);
    await using client = await connect(edge, '-c skerry.max_lag=1h');
    await client.untilLocal();
    link.freeze();
    await waitFor('its answers to grow old', () => age() > 2500);
    // Its relay is alive all the time and says so.
    expect(edge.control.feed.current.state).toBe('streaming');
    await client.ask("SET skerry.max_lag = '1s'");
    await client.ask(READ);
    expect(await client.by()).toBe('forwarded');
    link.close();
  }, 30_000);
});

/** A TCP link to the core whose bytes can be stopped without closing it. */
async function tcpLink(port: number): Promise<{ readonly port: number; freeze(): void; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const distant = createConnection(port, '127.0.0.1');
    for (const socket of [near, distant]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
    near.pipe(distant);
    distant.pipe(near);
    near.on('close', () => distant.destroy());
    distant.on('close', () => near.destroy());
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    freeze: () => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
