// Log sequence numbers: 64-bit byte positions in the write-ahead log, printed as two hex words (`16/B374D848`).

import { Fault } from '../base/fault.ts';

export type Lsn = bigint;

export const LSN_ZERO: Lsn = 0n;

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** Reads `16/B374D848`. Throws Fault `lsn-invalid` (22P02). */
export function parseLsn(text: string): Lsn {
  const found = LSN_TEXT.exec(text);
  if (found === null) {
    throw new Fault('lsn-invalid', { message: `invalid LSN "${text.slice(0, 40)}"`, sqlstate: '22P02' });
  }
  return (BigInt(`0x${found[1]}`) << 32n) | BigInt(`0x${found[2]}`);
}

/** Prints as Postgres does: upper-case hex, no leading zeros. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

/** The history a position belongs to (I1): equal LSNs of different epochs are not the same position. */
export interface Epoch {
  /** `IDENTIFY_SYSTEM`'s systemid: a decimal number of 64 bits, kept as text. */
  readonly systemId: string;
  readonly timeline: number;
}

export interface Position {
  readonly epoch: Epoch;
  /** `end_lsn` of the last transaction contained. */
  readonly lsn: Lsn;
}

export function sameEpoch(a: Epoch, b: Epoch): boolean {
  return a.systemId === b.systemId && a.timeline === b.timeline;
}

/** `7431…/1 @ 0/16B3748`: for logs and status. */
export function formatPosition(position: Position): string {
  return `${position.epoch.systemId}/${position.epoch.timeline} @ ${formatLsn(position.lsn)}`;
}
