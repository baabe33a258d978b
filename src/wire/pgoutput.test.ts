import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { check } from '../../test/fuzz.ts';
import { pgoutput, type TupleValue } from '../../test/wire-frames.ts';
import { Fault } from '../base/fault.ts';
import { ByteWriter } from './bytes.ts';
import {
  encodePgoutput,
  PgoutputDecoder,
  type PgoutputMessage,
  type TupleView,
  writeBegin,
  writeCommit,
  writeDelete,
  writeInsert,
  writeUpdate,
} from './pgoutput.ts';

const END = 0xffff_ffff_ffff_fff0n;

/** What a message says, with rows as texts; the decoder's own objects are reused, so they are read at once. */
function snapshot(message: PgoutputMessage): object {
  const texts = (tuple: TupleView): unknown[] => tuple.texts();
  switch (message.tag) {
    case 'insert':
      return { tag: 'insert', xid: message.xid, relation: message.relation, row: texts(message.row) };
    case 'update':
      return {
        tag: 'update',
        xid: message.xid,
        relation: message.relation,
        ...(message.oldKind === '' ? {} : { old: [message.oldKind, texts(message.old)] }),
        row: texts(message.row),
      };
    case 'delete':
      return {
        tag: 'delete',
        xid: message.xid,
        relation: message.relation,
        old: [message.oldKind, texts(message.old)],
      };
    case 'message':
      return { ...message, content: Buffer.from(message.content).toString() };
    default:
      return message;
  }
}

const COLUMNS = [
  { key: true, name: 'id', type: 23 },
  { name: 'näme', type: 1043, typmod: 24 },
];
const RELATION = {
  tag: 'relation',
  oid: 16_384,
  schema: 'public',
  name: 'täble',
  replicaIdentity: 'd',
  columns: [
    { key: true, name: 'id', typeOid: 23, typmod: -1 },
    { key: false, name: 'näme', typeOid: 1043, typmod: 24 },
  ],
};

/** Outside a streamed block. */
const CASES: [object, Uint8Array][] = [
  [{ tag: 'begin', finalLsn: END, committedAt: -1n, xid: 4_000_000_000 }, pgoutput.begin(END, -1n, 4_000_000_000)],
  [{ tag: 'commit', flags: 0, commitLsn: 1n, endLsn: END, committedAt: 5n }, pgoutput.commit(1n, END, 5n)],
  [{ tag: 'origin', lsn: 7n, name: 'o' }, pgoutput.origin(7n, 'o')],
  [{ ...RELATION, xid: 0 }, pgoutput.relation(16_384, 'public', 'täble', 'd', COLUMNS)],
  [{ tag: 'type', xid: 0, oid: 9, schema: 'public', name: 'mood' }, pgoutput.type(9, 'public', 'mood')],
  [{ tag: 'type', xid: 0, oid: 9, schema: 'pg_catalog', name: 'int4' }, pgoutput.type(9, '', 'int4')],
  [{ tag: 'insert', xid: 0, relation: 5, row: ['1', null, '', 'ü'] }, pgoutput.insert(5, ['1', null, '', 'ü'])],
  [{ tag: 'update', xid: 0, relation: 5, row: ['1', undefined] }, pgoutput.update(5, null, ['1', undefined])],
  [
    { tag: 'update', xid: 0, relation: 5, old: ['K', ['1', null]], row: ['2', undefined] },
    pgoutput.update(5, ['K', ['1', null]], ['2', undefined]),
  ],
  [
    { tag: 'update', xid: 0, relation: 5, old: ['O', ['1', 'x']], row: ['1', 'y'] },
    pgoutput.update(5, ['O', ['1', 'x']], ['1', 'y']),
  ],
  [{ tag: 'delete', xid: 0, relation: 5, old: ['K', ['1', null]] }, pgoutput.delete(5, 'K', ['1', null])],
  [{ tag: 'delete', xid: 0, relation: 5, old: ['O', ['1', 'x']] }, pgoutput.delete(5, 'O', ['1', 'x'])],
  [{ tag: 'truncate', xid: 0, cascade: true, restartIdentity: true, relations: [5, 6] }, pgoutput.truncate([5, 6], 3)],
  [
    { tag: 'message', xid: 0, transactional: true, lsn: 3n, prefix: 'skerry.schema', content: '{}' },
    pgoutput.message(true, 3n, 'skerry.schema', '{}'),
  ],
  [
    { tag: 'message', xid: 0, transactional: false, lsn: 3n, prefix: '', content: '' },
    pgoutput.message(false, 3n, '', ''),
  ],
  [
    { tag: 'beginPrepare', prepareLsn: 1n, endLsn: 2n, preparedAt: 3n, xid: 4, gid: 'g' },
    pgoutput.beginPrepare(1n, 2n, 3n, 4, 'g'),
  ],
  [
    { tag: 'prepare', flags: 0, prepareLsn: 1n, endLsn: 2n, preparedAt: 3n, xid: 4, gid: 'g' },
    pgoutput.prepare(1n, 2n, 3n, 4, 'g'),
  ],
  [
    { tag: 'commitPrepared', flags: 0, commitLsn: 1n, endLsn: 2n, committedAt: 3n, xid: 4, gid: 'g' },
    pgoutput.commitPrepared(1n, 2n, 3n, 4, 'g'),
  ],
  [
    {
      tag: 'rollbackPrepared',
      flags: 0,
      prepareEndLsn: 1n,
      rollbackEndLsn: 2n,
      preparedAt: 3n,
      rolledBackAt: 4n,
      xid: 5,
      gid: 'g',
    },
    pgoutput.rollbackPrepared(1n, 2n, 3n, 4n, 5, 'g'),
  ],
  [
    { tag: 'streamPrepare', flags: 0, prepareLsn: 1n, endLsn: 2n, preparedAt: 3n, xid: 4, gid: 'g' },
    pgoutput.streamPrepare(1n, 2n, 3n, 4, 'g'),
  ],
  [
    { tag: 'streamCommit', xid: 4, flags: 0, commitLsn: 1n, endLsn: 2n, committedAt: 3n },
    pgoutput.streamCommit(4, 1n, 2n, 3n),
  ],
  [{ tag: 'streamAbort', xid: 4, subxid: 5, abort: null }, pgoutput.streamAbort(4, 5)],
  [{ tag: 'streamAbort', xid: 4, subxid: 5, abort: { lsn: 6n, at: 7n } }, pgoutput.streamAbort(4, 5, [6n, 7n])],
];

/** Inside a streamed block everything that belongs to the transaction carries its xid. */
const STREAMED: [object, Uint8Array][] = [
  [{ tag: 'streamStart', xid: 4, first: true }, pgoutput.streamStart(4, true)],
  [{ ...RELATION, xid: 4 }, pgoutput.relation(16_384, 'public', 'täble', 'd', COLUMNS, 4)],
  [{ tag: 'type', xid: 4, oid: 9, schema: 'public', name: 'mood' }, pgoutput.type(9, 'public', 'mood', 4)],
  [{ tag: 'insert', xid: 5, relation: 9, row: ['1'] }, pgoutput.insert(9, ['1'], 5)],
  [{ tag: 'update', xid: 5, relation: 9, old: ['K', ['1']], row: ['2'] }, pgoutput.update(9, ['K', ['1']], ['2'], 5)],
  [{ tag: 'delete', xid: 5, relation: 9, old: ['K', ['2']] }, pgoutput.delete(9, 'K', ['2'], 5)],
  [{ tag: 'truncate', xid: 5, cascade: false, restartIdentity: false, relations: [9] }, pgoutput.truncate([9], 0, 5)],
  [
    { tag: 'message', xid: 5, transactional: true, lsn: 1n, prefix: 'p', content: 'c' },
    pgoutput.message(true, 1n, 'p', 'c', 5),
  ],
  [{ tag: 'streamStop' }, pgoutput.streamStop()],
  [{ tag: 'insert', xid: 0, relation: 9, row: ['1'] }, pgoutput.insert(9, ['1'])],
];

const decode = (bytes: Uint8Array, decoder = new PgoutputDecoder()): PgoutputMessage => {
  // Not at offset zero, and with something behind: a message must keep to its own bytes.
  const buffer = Buffer.concat([Buffer.from('before'), bytes, Buffer.from('behind')]);
  return decoder.decode(buffer, 6, 6 + bytes.length);
};

const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'no fault';
  } catch (error) {
    return error instanceof Fault ? error.code : `not a fault: ${String(error)}`;
  }
};

describe('pgoutput messages', () => {
  test('are read from bytes that an independent builder made', () => {
    for (const [message, bytes] of CASES) expect(snapshot(decode(bytes))).toEqual(message);
    const decoder = new PgoutputDecoder();
    for (const [message, bytes] of STREAMED) expect(snapshot(decode(bytes, decoder))).toEqual(message);
  });

  test('are written as that builder writes them', () => {
    for (const list of [CASES, STREAMED]) {
      const decoder = new PgoutputDecoder();
      for (const [, bytes] of list) {
        const writer = new ByteWriter();
        encodePgoutput(writer, decode(bytes, decoder));
        expect(writer.take().toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
      }
    }
  });

  test('cut short anywhere are malformed', () => {
    for (const [message, bytes] of CASES) {
      for (let length = 0; length < bytes.length; length += 1) {
        const code = codeOf(() => decode(bytes.slice(0, length)));
        const whole = (message as { tag: string }).tag === 'streamAbort' && length === 9;
        expect([message, length, code]).toEqual([message, length, whole ? 'no fault' : 'frame-malformed']);
      }
      expect(codeOf(() => decode(Buffer.concat([bytes, Buffer.from([0])])))).toBe('frame-malformed');
    }
  });

  test('out of order or of unknown kinds are refused', () => {
    const cases: [Uint8Array, string][] = [
      [Buffer.from('?'), 'protocol-violation'],
      [pgoutput.streamStop(), 'protocol-violation'],
      [Buffer.concat([pgoutput.insert(5, []).slice(0, 5), Buffer.from('K\0\0')]), 'protocol-violation'],
      [Buffer.concat([pgoutput.insert(5, []).slice(0, 6), Buffer.from([0, 1, 0x3f])]), 'protocol-violation'],
      [Buffer.concat([pgoutput.insert(5, []).slice(0, 6), Buffer.from([0xff, 0xff])]), 'frame-malformed'],
      [Buffer.concat([pgoutput.delete(5, 'K', []).slice(0, 5), Buffer.from('N\0\0')]), 'protocol-violation'],
      [pgoutput.relation(1, 'a', 'b', 'x', []), 'protocol-violation'],
      [pgoutput.truncate([]).map((byte, index) => (index < 5 && index > 0 ? 255 : byte)), 'frame-malformed'],
    ];
    for (const [bytes, code] of cases) expect(codeOf(() => decode(bytes))).toBe(code);
    const decoder = new PgoutputDecoder();
    decode(pgoutput.streamStart(1, true), decoder);
    expect(codeOf(() => decode(pgoutput.streamStart(1, false), decoder))).toBe('protocol-violation');
    decoder.reset();
    expect(decoder.streaming).toBe(false);
  });

  const value: fc.Arbitrary<TupleValue> = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 60 }).filter((text) => text.isWellFormed()),
    fc.constant(null),
    fc.constant(undefined),
  );
  const row = fc.array(value, { maxLength: 30 });

  test('with any rows survive the writers used for synthetic changes', () => {
    check([row, row, fc.constantFrom('K' as const, 'O' as const, ''), fc.nat()], (old, next, kind, xid) => {
      const decoder = new PgoutputDecoder();
      if (xid !== 0) decode(pgoutput.streamStart(1, true), decoder);
      const before = kind === '' ? null : { kind, row: old };
      const written = (write: (writer: ByteWriter) => void): object => {
        const writer = new ByteWriter();
        write(writer);
        return snapshot(decode(writer.take(), decoder));
      };
      expect(written((writer) => writeInsert(writer, xid, 7, next))).toEqual({
        tag: 'insert',
        xid,
        relation: 7,
        row: next,
      });
      expect(written((writer) => writeUpdate(writer, xid, 7, before, next))).toEqual({
        tag: 'update',
        xid,
        relation: 7,
        ...(before === null ? {} : { old: [kind, old] }),
        row: next,
      });
      expect(written((writer) => writeDelete(writer, xid, 7, 'O', old))).toEqual({
        tag: 'delete',
        xid,
        relation: 7,
        old: ['O', old],
      });
    });
    const writer = new ByteWriter();
    writeBegin(writer, 1n, 2n, 3);
    expect(writer.take().toString('hex')).toBe(Buffer.from(pgoutput.begin(1n, 2n, 3)).toString('hex'));
    writeCommit(writer, 1n, 2n, 3n);
    expect(writer.take().toString('hex')).toBe(Buffer.from(pgoutput.commit(1n, 2n, 3n)).toString('hex'));
  });

  test('give columns as bytes and texts without copying', () => {
    const message = decode(pgoutput.insert(1, ['ü', Buffer.from([1, 2]), null, undefined]));
    if (message.tag !== 'insert') throw new Error('not an insert');
    expect(message.row.bytes(1)).toEqual(Buffer.from([1, 2]));
    expect([message.row.text(0), message.row.text(2), message.row.text(3)]).toEqual(['ü', null, undefined]);
    expect([message.row.bytes(2), message.row.bytes(3)]).toEqual([null, undefined]);
    expect(message.row.bytes(0)?.buffer).toBe(message.row.buffer.buffer);
  });

  test('made of garbage never get past a Fault', () => {
    const type = fc.constantFrom(...'BCORYIUDTMSEcAbPKrp'.split(''));
    check([type, fc.uint8Array({ maxLength: 80 }), fc.boolean()], (letter, body, streaming) => {
      const decoder = new PgoutputDecoder();
      if (streaming) decode(pgoutput.streamStart(1, true), decoder);
      const bytes = Buffer.concat([Buffer.from(letter), body]);
      expect(['no fault', 'frame-malformed', 'protocol-violation']).toContain(codeOf(() => decode(bytes, decoder)));
    });
  });
});
