import { expect, test } from 'bun:test';
import { waitFor } from '../../test/harness.ts';
import { createClock } from './clock.ts';
import { createCrypto } from './crypto.ts';
import { createRandom } from './random.ts';

test('sleep resolves in time and rejects at once when its signal aborts', async () => {
  const clock = createClock();
  const before = clock.now();
  await clock.sleep(5);
  expect(clock.now() - before).toBeGreaterThanOrEqual(4);
  const controller = new AbortController();
  const sleeping = clock.sleep(60_000, controller.signal).catch((error: unknown) => error);
  const reason = new Error('enough');
  controller.abort(reason);
  expect(await sleeping).toBe(reason);
  expect(await clock.sleep(60_000, controller.signal).catch((error: unknown) => error)).toBe(reason);
});

test('a task runs once, unless its handle was disposed', async () => {
  const clock = createClock();
  const ran: string[] = [];
  clock.after(1, () => ran.push('after'));
  clock.after(1, () => ran.push('disposed'))[Symbol.dispose]();
  clock.soon(() => ran.push('soon'));
  await waitFor('both', () => ran.length >= 2);
  expect(ran).toEqual(['soon', 'after']);
});

test('random numbers are in range and bytes are as many as asked', () => {
  const random = createRandom();
  for (let index = 0; index < 100; index += 1) {
    const value = random.float();
    expect(value >= 0 && value < 1).toBe(true);
  }
  expect(random.bytes(33).length).toBe(33);
});

test('hashes are what the standards say', async () => {
  const crypto = createCrypto();
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  const text = (value: string): Uint8Array => Buffer.from(value);
  expect(hex(crypto.sha256(text('abc')))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(hex(crypto.hmacSha256(text('Jefe'), text('what do ya want for nothing?')))).toBe(
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  );
  expect(crypto.md5Hex('abc')).toBe('900150983cd24fb0d6963f7d28e17f72');
  expect(crypto.md5Hex(text('abc'))).toBe('900150983cd24fb0d6963f7d28e17f72');
  expect(hex(await crypto.pbkdf2Sha256(text('password'), text('salt'), 2))).toBe(
    'ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43',
  );
  expect([
    crypto.equal(text('a'), text('a')),
    crypto.equal(text('a'), text('b')),
    crypto.equal(text('a'), text('ab')),
  ]).toEqual([true, false, false]);
});
