// A token says what a session has seen: everything up to a position of the core's log. Another session, at any PoP, that is given
// it answers from no older state. Clients keep it as it is; inside are the epoch, the position and a checksum (I1).

import { crc32 } from '../base/crc32.ts';
import { Fault } from '../base/fault.ts';
import { formatLsn, type Position } from '../pg/lsn.ts';

/** Names the form, so that another one can follow. */
const PREFIX = 'sk1.';
const BODY_BYTES = 20;

/** `sk1.` and 24 bytes in base64url: system identifier, timeline, LSN, CRC-32 of them. */
export function formatToken({ epoch, lsn }: Position): string {
  const bytes = Buffer.alloc(BODY_BYTES + 4);
  bytes.writeBigUInt64BE(BigInt(epoch.systemId), 0);
  bytes.writeUInt32BE(epoch.timeline, 8);
  bytes.writeBigUInt64BE(lsn, 12);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, BODY_BYTES)), BODY_BYTES);
  return PREFIX + bytes.toString('base64url');
}

/** Throws Fault `token-invalid` (22023) for anything that is not a whole, unchanged token. */
export function parseToken(text: string): Position {
  const bytes = text.startsWith(PREFIX) ? Buffer.from(text.slice(PREFIX.length), 'base64url') : Buffer.alloc(0);
  if (
    bytes.length !== BODY_BYTES + 4 ||
    bytes.readUInt32BE(BODY_BYTES) !== crc32(bytes.subarray(0, BODY_BYTES)) ||
    formatOf(bytes) !== text
  ) {
    throw new Fault('token-invalid', {
      message: `invalid value for parameter "skerry.token": "${text.slice(0, 60)}"`,
      detail: 'it is no token of an edge, or not all of it',
      hint: 'use what SELECT skerry.token() gave, unchanged',
      sqlstate: '22023',
    });
  }
  return {
    epoch: { systemId: bytes.readBigUInt64BE(0).toString(), timeline: bytes.readUInt32BE(8) },
    lsn: bytes.readBigUInt64BE(12),
  };
}

/** base64 has several texts for the same bytes; only ours is taken. */
function formatOf(bytes: Buffer): string {
  return PREFIX + bytes.toString('base64url');
}

/** A token of another database can never be satisfied. Throws Fault `token-foreign` (22023). */
export function requireSameSystem(token: Position, systemId: string | null): void {
  if (systemId === null || token.epoch.systemId === systemId) return;
  throw new Fault('token-foreign', {
    message: 'this token is of another database system',
    detail: `the token is of system ${token.epoch.systemId} at ${formatLsn(token.lsn)}, this edge follows system ${systemId}`,
    hint: 'a token is good for the PoPs of the core that it was made for',
    sqlstate: '22023',
  });
}
