// The property that matters most (PgDog #759): whatever many clients do at the same time, each gets the answers to what it
// asked, all of them, in order, and nothing of anybody else's. A fake server signs every row, notice and error.

import { expect, test } from 'bun:test';
import { requestCancel, seeded, startFakePostgres } from '../../test/fake-postgres.ts';
import { startProxy } from '../../test/proxy.ts';
import { query, RawPeer } from '../../test/raw-peer.ts';
import { waitFor } from '../../test/harness.ts';
import { frame, i16, i32, join, z } from '../../test/wire-frames.ts';

type Random = () => number;

/** What one segment (up to its ReadyForQuery) has to bring. Null: it may be cancelled or not. */
interface Expected {
  readonly said: string[] | null;
  readonly id: string;
}

const parse = (name: string, sql: string): Uint8Array => frame('P', z(name), z(sql), i16(0));
const bind = (name: string): Uint8Array => frame('B', z(''), z(name), i16(0), i16(0), i16(0));
const executeAndSync = join(frame('E', z(''), i32(0)), frame('S'));

/** One client's life: random segments, pipelined or not, transactions, errors, cancels, sudden death. */
class Talker {
  readonly #name: string;
  readonly #random: Random;
  readonly #port: number;
  #count = 0;
  #inTransaction = false;
  #failed = false;
  /** Names of the client's statements and what they echo. */
  #statements = new Map<string, string>();

  constructor(name: string, port: number, random: Random) {
    this.#name = name;
    this.#port = port;
    this.#random = random;
  }

  async live(): Promise<void> {
    const lives = 1 + Math.floor(this.#random() * 3);
    for (let life = 0; life < lives; life += 1) await this.#oneLife(life === lives - 1);
  }

  async #oneLife(last: boolean): Promise<void> {
    this.#inTransaction = false;
    this.#failed = false;
    this.#statements = new Map();
    using peer = await RawPeer.login(this.#port, { user: 'u', database: 'd' });
    const key = peer.frames().find((one) => one.type === 'K')?.body as Buffer;
    let seen = peer.frames().length;
    const turns = 2 + Math.floor(this.#random() * 6);
    for (let turn = 0; turn < turns; turn += 1) {
      const expected: Expected[] = [];
      const bytes: Uint8Array[] = [];
      const segments = this.#random() < 0.3 ? 1 + Math.floor(this.#random() * 4) : 1;
      for (let index = 0; index < segments; index += 1) bytes.push(this.#segment(expected, segments === 1));
      const all = join(...bytes);
      const cut = this.#random() < 0.3 ? Math.floor(this.#random() * all.length) : all.length;
      peer.send(all.subarray(0, cut));
      if (cut < all.length) {
        // Death in the middle of whatever it was.
        if (!last && this.#random() < 0.3) return;
        await new Promise((resolve) => setImmediate(resolve));
        peer.send(all.subarray(cut));
      }
      if (expected.some((one) => one.said === null)) requestCancel(this.#port, key.readInt32BE(0), key.subarray(4));
      if (!last && this.#random() < 0.1) return;
      await waitFor(`${this.#name} gets ${segments} answers`, () => {
        if (peer.closed) throw new Error('closed');
        return (
          peer
            .frames()
            .slice(seen)
            .filter((one) => one.type === 'Z').length >= segments
        );
      });
      this.#check(peer.frames().slice(seen), expected);
      seen = peer.frames().length;
    }
  }

  #check(frames: { type: string; body: Buffer }[], expected: readonly Expected[]): void {
    const segments: string[][] = [[]];
    for (const one of frames) {
      if (one.type === 'Z') segments.push([]);
      else if (one.type === 'D') segments.at(-1)?.push(one.body.toString('utf8', 6));
      else if (one.type === 'E' || one.type === 'N') {
        segments.at(-1)?.push(/\0M([^\0]*)/.exec(one.body.toString('utf8'))?.[1] ?? '?');
      }
    }
    expect(segments).toHaveLength(expected.length + 1);
    expected.forEach(({ said, id }, index) => {
      const got = segments[index] as string[];
      if (said !== null) expect(got).toEqual(said);
      else expect([`said ${id}`, `canceled ${id}`, CANCELED_IN_QUEUE]).toContain(got.join());
    });
  }

  #segment(expected: Expected[], mayBeSlow: boolean): Uint8Array {
    this.#count += 1;
    const id = `${this.#name}:${this.#count}`;
    const simple = (sql: string): Uint8Array => {
      this.#statements.delete('');
      return query(sql);
    };
    if (this.#failed) {
      this.#failed = false;
      this.#inTransaction = false;
      expected.push({ said: [], id });
      return simple('rollback');
    }
    const choice = this.#random();
    if (choice < 0.15) {
      expected.push({ said: [], id });
      this.#inTransaction = !this.#inTransaction;
      return simple(this.#inTransaction ? `begin ${id}` : `commit ${id}`);
    }
    if (choice < 0.2 && mayBeSlow && !this.#inTransaction) {
      // A cancel may hit or miss, but only this statement.
      expected.push({ said: null, id });
      return simple(`echo ${id} slow`);
    }
    const what = this.#random();
    const kind = what < 0.2 ? 'error' : what < 0.4 ? 'notice' : what < 0.6 ? 'rows 3' : 'row';
    const said =
      kind === 'error'
        ? [`failed ${id}`]
        : kind === 'notice'
          ? [`note ${id}`, `said ${id}`]
          : kind === 'rows 3'
            ? [`said ${id}`, `said ${id}`, `said ${id}`]
            : [`said ${id}`];
    if (kind === 'error' && this.#inTransaction) this.#failed = true;
    if (choice < 0.5) {
      expected.push({ said, id });
      return simple(`echo ${id} ${kind}`);
    }
    return this.#extended(expected, id, kind, said);
  }

  #extended(expected: Expected[], id: string, kind: string, said: string[]): Uint8Array {
    // All clients use the same few names.
    const name = ['', 'a', 'b', 'c'][Math.floor(this.#random() * 4)] as string;
    const known = this.#statements.get(name);
    if (known !== undefined && this.#random() < 0.6) {
      this.#failed = false;
      expected.push({ said: [`said ${known}`], id });
      return join(bind(name), executeAndSync);
    }
    const close = known === undefined || name === '' ? [] : [frame('C', 'S', z(name))];
    // Only statements that give one row are bound again.
    this.#statements.delete(name);
    if (kind === 'row') this.#statements.set(name, id);
    expected.push({ said, id });
    const closeAfter = kind === 'row' || name === '' || kind === 'error' ? [] : [frame('C', 'S', z(name))];
    if (kind === 'error' && name !== '') {
      this.#statements.delete('');
      return join(...close, parse('', `echo ${id} error`), bind(''), executeAndSync);
    }
    return join(
      ...close,
      parse(name, `echo ${id} ${kind}`),
      bind(name),
      frame('E', z(''), i32(0)),
      ...closeAfter,
      frame('S'),
    );
  }
}

/** The proxy's own answer to a cancel that found its statement waiting. */
const CANCELED_IN_QUEUE = 'canceling statement due to user request';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

test.each(SEEDS)('no row, notice or error reaches the wrong client (seed %p)', async (seed) => {
  const random = seeded(seed);
  await using server = await startFakePostgres(seeded(seed * 7919));
  await using proxy = await startProxy(server, { poolSize: 3, preparedMax: 5 });
  const talkers = Array.from(
    { length: 16 },
    (_, index) => new Talker(`c${index}`, proxy.port, seeded(Math.floor(random() * 2 ** 31))),
  );
  await Promise.all(talkers.map((talker) => talker.live()));
  for (const pool of proxy.proxy.pools.values()) {
    await waitFor(
      'every server connection comes to rest',
      () => pool.idle.length === pool.servers.size && pool.recovering.size === 0,
    );
    expect(pool.servers.size).toBeLessThanOrEqual(3);
    await waitFor('all permissions are back', () => pool.backend.open === 0 && !pool.backend.waiting);
  }
});
