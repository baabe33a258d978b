// A cancel request comes over a new connection, which the kernel or a load balancer gives to any worker of any host. So the
// key says where its client is. Pure.
//
//   32 bytes (protocol 3.2)             byte 0 worker, byte 1 host, 30 bytes of chance
//   4 bytes, process id made up by us   process id: bit 30 set, 6 bits host, 6 bits worker, 18 of chance; key: 32 bits of chance
//   4 bytes, the server's process id    (session mode) key: 6 bits worker, 6 bits host if there are peers, the rest chance
//
// Between hosts the key travels with a mark in front, and what carries the mark is never passed on to a third one.

import type { Random } from '../../base/random.ts';

/** Where the client of a key is. */
export interface Route {
  /** `peer_id`; 0 when there are no peers. */
  readonly host: number;
  readonly worker: number;
}

/** Both are six bits; 0 is nobody. */
export const ROUTE_MAX = 63;

/** Linux gives no process id as high as this (pid_max is at most 2^22). */
const MADE_UP = 0x4000_0000;

const LONG_KEY_BYTES = 32;
const SHORT_KEY_BYTES = 4;

/** In front of a key that a peer has passed on. Clients' keys have 4 or 32 bytes, so no client's key looks like one with it. */
const FORWARDED = Buffer.from('SKFW', 'latin1');

export interface CancelKey {
  readonly processId: number;
  readonly secretKey: Uint8Array;
}

/** A new key. `processId`: the server's own, or null. `long`: protocol 3.2. */
export function makeCancelKey(
  random: Random,
  route: Route,
  { processId, long }: { readonly processId: number | null; readonly long: boolean },
): CancelKey {
  const secretKey = random.bytes(long ? LONG_KEY_BYTES : SHORT_KEY_BYTES);
  if (long) {
    secretKey[0] = route.worker;
    secretKey[1] = route.host;
  } else if (processId !== null) {
    const bits = Buffer.from(secretKey.buffer, secretKey.byteOffset, secretKey.length);
    const chance = bits.readUInt32BE(0);
    bits.writeUInt32BE(
      route.host === 0
        ? ((route.worker << 26) | (chance & 0x03ff_ffff)) >>> 0
        : ((route.worker << 26) | (route.host << 20) | (chance & 0x000f_ffff)) >>> 0,
      0,
    );
  }
  const madeUp = MADE_UP | (route.host << 24) | (route.worker << 18) | Math.floor(random.float() * 0x4_0000);
  return { processId: processId ?? madeUp, secretKey };
}

/** Where to look for the client. `hasPeers`: keys of this installation name hosts. Null for what is no key of ours. */
export function routeOf({ processId, secretKey }: CancelKey, hasPeers: boolean): Route | null {
  if (secretKey.length === LONG_KEY_BYTES) {
    const [worker = 0, host = 0] = secretKey;
    return { worker, host: hasPeers ? host : 0 };
  }
  if (secretKey.length !== SHORT_KEY_BYTES) return null;
  if ((processId & MADE_UP) !== 0) {
    return { host: hasPeers ? (processId >>> 24) & ROUTE_MAX : 0, worker: (processId >>> 18) & ROUTE_MAX };
  }
  const [first = 0, second = 0] = secretKey;
  return { worker: first >>> 2, host: hasPeers ? ((first & 3) << 4) | (second >>> 4) : 0 };
}

/** The key as it goes to a peer. */
export function forwarded(secretKey: Uint8Array): Uint8Array {
  return Buffer.concat([FORWARDED, secretKey]);
}

/** A key that a peer has passed on without its mark, or null for one that comes from a client. */
export function unforwarded(secretKey: Uint8Array): Uint8Array | null {
  const inner = secretKey.length - FORWARDED.length;
  if (inner !== SHORT_KEY_BYTES && inner !== LONG_KEY_BYTES) return null;
  return FORWARDED.equals(secretKey.subarray(0, FORWARDED.length)) ? secretKey.subarray(FORWARDED.length) : null;
}
