// Keys say where their client is, whatever the protocol, and the rest is chance.

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createRandom } from '../../runtime/random.ts';
import { forwarded, makeCancelKey, ROUTE_MAX, routeOf, unforwarded } from './cancel-key.ts';

const random = createRandom();
const six = fc.nat(ROUTE_MAX);

describe('keys', () => {
  test('of every kind lead to worker and host', () => {
    const serverPid = fc.option(fc.integer({ min: 1, max: 0x40_0000 }), { nil: null });
    fc.assert(
      fc.property(six, six, serverPid, fc.boolean(), (host, worker, processId, long) => {
        const key = makeCancelKey(random, { host, worker }, { processId, long });
        expect(key.secretKey.length).toBe(long ? 32 : 4);
        expect(key.processId).toBe(processId ?? key.processId);
        expect(key.processId).toBeGreaterThan(0);
        expect(key.processId).toBeLessThanOrEqual(0x7fff_ffff);
        expect(routeOf(key, host !== 0)).toEqual({ host, worker });
        expect(unforwarded(key.secretKey)).toBeNull();
        expect(unforwarded(forwarded(key.secretKey))).toEqual(Buffer.from(key.secretKey));
      }),
    );
  });

  test('without peers the bits of the host are chance', () => {
    const keys = Array.from({ length: 64 }, () =>
      makeCancelKey(random, { host: 0, worker: 5 }, { processId: 1234, long: false }),
    );
    for (const key of keys) expect(routeOf(key, false)).toEqual({ host: 0, worker: 5 });
    expect(new Set(keys.map((key) => routeOf(key, true)?.host)).size).toBeGreaterThan(8);
  });

  test('of other lengths are nobody’s', () => {
    expect(routeOf({ processId: 1, secretKey: new Uint8Array(5) }, true)).toBeNull();
    expect(unforwarded(new Uint8Array(9))).toBeNull();
  });
});
