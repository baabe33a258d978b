// The procedures of `/rpc/`, by name. Each takes and gives a map of byte strings.
// Source: Kyoto Tycoon's Fundamental Specifications, "Procedures"; words and corner cases after its server 0.9.56.

import type { KtDatabase, KtRecord } from './store.ts';
import { numberOf, readInteger, readUnits, unitsOf, writeInteger, writeUnits } from './store.ts';
import { incompatible, invalidParameters, KtError, noRecord } from './status.ts';
import type { Records } from './tsv.ts';

/** Where a connection's cursor stands; null = nowhere. */
export interface Cursor {
  database: KtDatabase;
  key: Buffer | null;
}

export interface Call {
  readonly input: Records;
  readonly database: KtDatabase;
  /** Of this connection. Null when the call names none. */
  readonly cursor: Cursor | null;
  /** Seconds of the epoch. */
  readonly now: number;
  readonly forgetCursor: () => void;
}

type Procedure = (call: Call) => Promise<Records> | Records;

/** Keys that one match_prefix gives, whatever `max` says. */
const MATCHES_MAX = 100_000;

/** Records of one bulk call. */
export const BULK_RECORDS_MAX = 100_000;

const NOTHING: Records = new Map();

/** `report` is the server's own; `play_script` and replication do not exist here. */
export const PROCEDURES: ReadonlyMap<string, Procedure> = new Map<string, Procedure>(
  Object.entries({
    void: () => NOTHING,
    echo: ({ input }) => input,
    async status({ database }) {
      return records({ count: await database.count(), path: database.name, type: 'table' });
    },
    async clear({ database }) {
      await database.clear();
      return NOTHING;
    },
    // What was acknowledged is durable at the core already.
    synchronize: () => NOTHING,
    async vacuum({ database }) {
      await database.vacuum();
      return NOTHING;
    },
    async set(call) {
      await call.database.set([recordIn(call)]);
      return NOTHING;
    },
    async add(call) {
      await call.database.add(recordIn(call));
      return NOTHING;
    },
    async replace(call) {
      await call.database.replace(recordIn(call));
      return NOTHING;
    },
    async append(call) {
      await call.database.append(recordIn(call));
      return NOTHING;
    },
    async increment(call) {
      const { input, database } = call;
      const by = wholeNumber(needed(input, 'num'));
      const origin = input.get('orig')?.toString('latin1') ?? '0';
      const num = await database.update(needed(input, 'key'), expiryIn(call), (value, isText) => {
        if (value === null && origin === 'try') throw incompatible();
        const before =
          origin === 'set' || value === null
            ? /^(try|set)$/.test(origin)
              ? 0n
              : wholeNumber(Buffer.from(origin))
            : readInteger(value, isText);
        const result = BigInt.asIntN(64, before + by);
        return { value: writeInteger(result, isText), result };
      });
      return records({ num: String(num) });
    },
    async increment_double(call) {
      const { input, database } = call;
      const by = unitsOf(decimal(needed(input, 'num')));
      const origin = input.get('orig')?.toString('latin1') ?? '0';
      const num = await database.update(needed(input, 'key'), expiryIn(call), (value, isText) => {
        if (value === null && origin === 'try') throw incompatible();
        const isNew = origin === 'set' || value === null;
        const before = isNew
          ? unitsOf(/^(try|set)$/.test(origin) ? 0 : decimal(Buffer.from(origin)))
          : readUnits(value, isText);
        return { value: writeUnits(before + by, isText), result: before + by };
      });
      return records({ num: numberOf(num).toFixed(6) });
    },
    async cas(call) {
      const { input, database } = call;
      const key = needed(input, 'key');
      await database.compareAndSwap(key, input.get('oval') ?? null, input.get('nval') ?? null, expiryIn(call));
      return NOTHING;
    },
    async remove({ input, database }) {
      if ((await database.remove(needed(input, 'key'))) === null) throw noRecord();
      return NOTHING;
    },
    async get({ input, database }) {
      return valueOf(await database.get(needed(input, 'key')));
    },
    async check({ input, database }) {
      const record = await database.get(needed(input, 'key'));
      if (record === null) throw noRecord();
      return records({ vsiz: record.value.length, ...xtOf(record) });
    },
    async seize({ input, database }) {
      return valueOf(await database.remove(needed(input, 'key')));
    },
    async set_bulk(call) {
      const xt = expiryIn(call);
      const list = bulk(call.input).map(([key, value]): KtRecord => ({ key, value, xt }));
      await call.database.set(list);
      return records({ num: list.length });
    },
    async remove_bulk({ input, database }) {
      return records({ num: await database.removeMany(bulk(input).map(([key]) => key)) });
    },
    async get_bulk({ input, database }) {
      const output: Records = new Map();
      for (const [key] of bulk(input)) {
        const record = await database.get(key);
        if (record !== null) output.set(`_${key.toString('latin1')}`, record.value);
      }
      output.set('num', Buffer.from(String(output.size)));
      return output;
    },
    async match_prefix({ input, database }) {
      const prefix = needed(input, 'prefix');
      const max = input.get('max');
      const wanted = max === undefined ? -1 : Number(wholeNumber(max));
      const limit = wanted < 0 ? MATCHES_MAX : Math.min(wanted, MATCHES_MAX);
      const found =
        limit === 0 ? [] : await database.scan({ from: null, inclusive: true, descending: false, prefix, limit });
      const output: Records = new Map();
      found.forEach(({ key }, index) => output.set(`_${key.toString('latin1')}`, Buffer.from(String(index))));
      output.set('num', Buffer.from(String(found.length)));
      return output;
    },
    cur_jump: (call) => jump(call, false),
    cur_jump_back: (call) => jump(call, true),
    cur_step: (call) => step(cursorOf(call), false),
    cur_step_back: (call) => step(cursorOf(call), true),
    async cur_set_value(call) {
      const cursor = cursorOf(call);
      const value = needed(call.input, 'value');
      const { key } = await current(cursor);
      await cursor.database.set([{ key, value, xt: expiryIn(call) }]);
      await stepIfAsked(call, cursor);
      return NOTHING;
    },
    async cur_remove(call) {
      const cursor = cursorOf(call);
      const { key } = await current(cursor);
      await cursor.database.remove(key);
      return NOTHING;
    },
    async cur_get_key(call) {
      const cursor = cursorOf(call);
      const { key } = await current(cursor);
      await stepIfAsked(call, cursor);
      return records({ key });
    },
    async cur_get_value(call) {
      const cursor = cursorOf(call);
      const { value } = await current(cursor);
      await stepIfAsked(call, cursor);
      return records({ value });
    },
    async cur_get(call) {
      const cursor = cursorOf(call);
      const record = await current(cursor);
      await stepIfAsked(call, cursor);
      return records({ key: record.key, value: record.value, ...xtOf(record) });
    },
    async cur_seize(call) {
      const cursor = cursorOf(call);
      const { key } = await current(cursor);
      const record = await cursor.database.remove(key);
      if (record === null) throw noRecord();
      return records({ key, value: record.value, ...xtOf(record) });
    },
    cur_delete(call) {
      cursorOf(call);
      call.forgetCursor();
      return NOTHING;
    },
  } satisfies Record<string, Procedure>),
);

/** Values as output records. */
export function records(values: Readonly<Record<string, Buffer | string | number>>): Records {
  return new Map(
    Object.entries(values).map(([name, value]) => [name, Buffer.isBuffer(value) ? value : Buffer.from(String(value))]),
  );
}

/** `xt` of a request as seconds of the epoch: from now on, or minus the epoch time itself. Null without. */
export function absoluteExpiry(xt: bigint | null, now: number): number | null {
  if (xt === null) return null;
  const seconds = xt < 0n ? -xt : BigInt(now) + xt;
  // As far as KT's own field reaches: later is never.
  return seconds >= EXPIRY_END ? null : Number(seconds);
}

/** KT keeps five bytes for a time of expiry. */
const EXPIRY_END = (1n << 40n) - 1n;

function recordIn(call: Call): KtRecord {
  return { key: needed(call.input, 'key'), value: needed(call.input, 'value'), xt: expiryIn(call) };
}

function expiryIn({ input, now }: Call): number | null {
  const xt = input.get('xt');
  return absoluteExpiry(xt === undefined ? null : wholeNumber(xt), now);
}

function needed(input: Records, name: string): Buffer {
  const value = input.get(name);
  if (value === undefined) throw invalidParameters();
  return value;
}

/** As C's atoi: what is no number is 0. */
function wholeNumber(text: Buffer): bigint {
  const digits = /^\s*([-+]?\d{1,19})/.exec(text.toString('latin1'))?.[1];
  return digits === undefined ? 0n : BigInt(digits.replace('+', ''));
}

function decimal(text: Buffer): number {
  const number = Number.parseFloat(text.toString('latin1'));
  return Number.isNaN(number) ? 0 : number;
}

function valueOf(record: KtRecord | null): Records {
  if (record === null) throw noRecord();
  return records({ value: record.value, ...xtOf(record) });
}

function xtOf({ xt }: KtRecord): { xt?: number } {
  return xt === null ? {} : { xt };
}

/** Keys that trail `_`, with their values. */
function bulk(input: Records): [Buffer, Buffer][] {
  const found: [Buffer, Buffer][] = [];
  for (const [name, value] of input) {
    if (name.startsWith('_')) found.push([Buffer.from(name.slice(1), 'latin1'), value]);
  }
  if (found.length > BULK_RECORDS_MAX) throw new KtError(400, `more than ${BULK_RECORDS_MAX} records in one call`);
  return found;
}

function cursorOf({ cursor }: Call): Cursor {
  if (cursor === null) throw new KtError(400, 'no such cursor');
  return cursor;
}

async function jump(call: Call, back: boolean): Promise<Records> {
  const cursor = cursorOf(call);
  const [record] = await call.database.scan({
    from: call.input.get('key') ?? null,
    inclusive: true,
    descending: back,
    limit: 1,
  });
  cursor.database = call.database;
  cursor.key = record?.key ?? null;
  if (record === undefined) throw noRecord();
  return NOTHING;
}

async function step(cursor: Cursor, back: boolean): Promise<Records> {
  const { key } = await current(cursor);
  const [next] = await cursor.database.scan({ from: key, inclusive: false, descending: back, limit: 1 });
  cursor.key = next?.key ?? null;
  if (next === undefined) throw noRecord();
  return NOTHING;
}

/** `step` set: goes on, and is nowhere behind the last record, which is no error of this call. */
async function stepIfAsked(call: Call, cursor: Cursor): Promise<void> {
  if (!call.input.has('step')) return;
  await step(cursor, false).catch((error: unknown) => {
    if (!(error instanceof KtError)) throw error;
  });
}

/** The record at the cursor: the first that is not before it, for the one it stood at may be gone. */
async function current(cursor: Cursor): Promise<KtRecord> {
  if (cursor.key === null) throw noRecord();
  const [record] = await cursor.database.scan({ from: cursor.key, inclusive: true, descending: false, limit: 1 });
  cursor.key = record?.key ?? null;
  if (record === undefined) throw noRecord();
  return record;
}
