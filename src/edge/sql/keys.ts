// Keys of values that do not compare as they are stored: texts or bytes that SQLite orders as Postgres orders the values.

import { parseInterval } from '../../pg/types/temporal.ts';
import { inetToBinary } from '../../pg/types/network.ts';
import type { SqliteValue } from '../../replica/sqlite.ts';
import { jsonKey, parseJson } from './json-text.ts';

const DAY_US = 86_400_000_000n;
const SPAN_OFFSET = 2n ** 90n;

/** A month is 30 days, a day 24 hours. */
export function intervalSpan(text: string): bigint {
  const { months, days, microseconds } = parseInterval(text);
  return (BigInt(months) * 30n + BigInt(days)) * DAY_US + microseconds;
}

/** Networks before what is in them; equal networks by length, then by the whole address. */
function inetKey(text: string): string {
  const bytes = inetToBinary(text, false);
  const bits = bytes[1] as number;
  let network = String(bytes[0]);
  for (let bit = 0; bit < bits; bit += 1)
    network += ((bytes[4 + (bit >> 3)] as number) >> (7 - (bit & 7))) & 1 ? '2' : '1';
  return `${network}0${bytes.subarray(4).toString('hex')}`;
}

function timetzKey(text: string): string {
  const parts = /^(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/.exec(text);
  if (parts === null) throw new RangeError('a time that is left to the core');
  const at = (index: number): number => Number(parts[index] ?? 0);
  const east = (parts[5] === '-' ? -1 : 1) * (at(6) * 3600 + at(7) * 60 + at(8));
  const micros = (at(1) * 3600 + at(2) * 60 + at(3) - east) * 1_000_000 + Number((parts[4] ?? '').padEnd(6, '0'));
  // The later of two equal moments is the one further west.
  return `${String(micros + 1e12).padStart(14, '0')}${String(-east + 100_000).padStart(6, '0')}`;
}

function lsnKey(text: string): string {
  return text
    .split('/')
    .map((part) => part.padStart(8, '0'))
    .join('/');
}

export type KeyKind = 'interval' | 'inet' | 'timetz' | 'jsonb' | 'lsn';

const KEYS: Readonly<Record<KeyKind, (text: string) => SqliteValue>> = {
  interval: (text) => (intervalSpan(text) + SPAN_OFFSET).toString().padStart(28, '0'),
  inet: inetKey,
  timetz: timetzKey,
  jsonb: (text) => jsonKey(parseJson(text)),
  lsn: lsnKey,
};

export function valueKey(kind: string, text: string): SqliteValue {
  return KEYS[kind as KeyKind](text);
}
