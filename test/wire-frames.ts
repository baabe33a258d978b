// Builds PostgreSQL protocol frames for tests, independently of src/wire: written from the protocol's documentation, slow and
// plain, so that a mistake in our encoder cannot hide behind the same mistake in a test.

export type Part = string | number[] | Uint8Array;

/** int16, big-endian. */
export function i16(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}

/** int32, big-endian. */
export function i32(value: number): number[] {
  return [(value >> 24) & 255, (value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** int64, big-endian. */
export function i64(value: bigint): number[] {
  const hex = BigInt.asUintN(64, value).toString(16).padStart(16, '0');
  return Array.from({ length: 8 }, (_, index) => Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16));
}

/** A zero-terminated string. */
export function z(text: string): number[] {
  return [...new TextEncoder().encode(text), 0];
}

/** A counted value: int32 length and bytes; null is length -1. */
export function counted(value: string | Uint8Array | null): number[] {
  if (value === null) return i32(-1);
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  return [...i32(bytes.length), ...bytes];
}

/** Joins parts; a string stands for its UTF-8 bytes, without a terminator. */
export function join(...parts: Part[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) => (typeof part === 'string' ? [...new TextEncoder().encode(part)] : [...part])),
  );
}

/** A frame: type letter, length, body. */
export function frame(type: string, ...body: Part[]): Uint8Array {
  const bytes = join(...body);
  return join(type, i32(bytes.length + 4), bytes);
}

/** A packet without a type: length, body. */
export function packet(...body: Part[]): Uint8Array {
  const bytes = join(...body);
  return join(i32(bytes.length + 4), bytes);
}

// Packets that open a connection.

export const sslRequest = (): Uint8Array => packet(i16(1234), i16(5679));
export const gssencRequest = (): Uint8Array => packet(i16(1234), i16(5680));

export function cancelRequest(processId: number, key: Uint8Array): Uint8Array {
  return packet(i16(1234), i16(5678), i32(processId), key);
}

export function startup(parameters: Readonly<Record<string, string>>, major = 3, minor = 0): Uint8Array {
  const body = Object.entries(parameters).flatMap(([name, value]) => [...z(name), ...z(value)]);
  return packet(i16(major), i16(minor), body, [0]);
}

// Frontend.

export const query = (sql: string): Uint8Array => frame('Q', z(sql));
export const parse = (name: string, sql: string, types: number[] = []): Uint8Array =>
  frame('P', z(name), z(sql), i16(types.length), ...types.map(i32));
export const bind = (
  portal: string,
  statement: string,
  values: (string | Uint8Array | null)[] = [],
  formats: number[] = [],
  results: number[] = [],
): Uint8Array =>
  frame(
    'B',
    z(portal),
    z(statement),
    i16(formats.length),
    ...formats.map(i16),
    i16(values.length),
    ...values.map(counted),
    i16(results.length),
    ...results.map(i16),
  );
export const describePortal = (name: string): Uint8Array => frame('D', 'P', z(name));
export const describeStatement = (name: string): Uint8Array => frame('D', 'S', z(name));
export const execute = (portal: string, rowsMax = 0): Uint8Array => frame('E', z(portal), i32(rowsMax));
export const closeStatement = (name: string): Uint8Array => frame('C', 'S', z(name));
export const closePortal = (name: string): Uint8Array => frame('C', 'P', z(name));
export const sync = (): Uint8Array => frame('S');
export const flush = (): Uint8Array => frame('H');
export const terminate = (): Uint8Array => frame('X');
export const copyData = (data: Part): Uint8Array => frame('d', data);
export const copyDone = (): Uint8Array => frame('c');
export const copyFail = (reason: string): Uint8Array => frame('f', z(reason));
export const functionCall = (oid: number, values: (string | null)[]): Uint8Array =>
  frame('F', i32(oid), i16(0), i16(values.length), ...values.map(counted), i16(0));
export const password = (text: string): Uint8Array => frame('p', z(text));
export const saslInitial = (mechanism: string, data: string | null): Uint8Array =>
  frame('p', z(mechanism), counted(data));
export const saslResponse = (data: string): Uint8Array => frame('p', data);

// Backend.

export const authenticationOk = (): Uint8Array => frame('R', i32(0));
export const authenticationCleartext = (): Uint8Array => frame('R', i32(3));
export const authenticationMd5 = (salt: number[]): Uint8Array => frame('R', i32(5), salt);
export const authenticationSasl = (...mechanisms: string[]): Uint8Array =>
  frame('R', i32(10), ...mechanisms.map(z), [0]);
export const authenticationSaslContinue = (data: string): Uint8Array => frame('R', i32(11), data);
export const authenticationSaslFinal = (data: string): Uint8Array => frame('R', i32(12), data);
export const negotiateProtocolVersion = (version: number, options: string[]): Uint8Array =>
  frame('v', i32(version), i32(options.length), ...options.map(z));
export const backendKeyData = (processId: number, key: number[]): Uint8Array => frame('K', i32(processId), key);
export const parameterStatus = (name: string, value: string): Uint8Array => frame('S', z(name), z(value));
export const readyForQuery = (status: string): Uint8Array => frame('Z', status);
export const rowDescription = (columns: { name: string; type: number; format?: number }[]): Uint8Array =>
  frame(
    'T',
    i16(columns.length),
    ...columns.map(({ name, type, format = 0 }) => [
      ...z(name),
      ...i32(0),
      ...i16(0),
      ...i32(type),
      ...i16(-1),
      ...i32(-1),
      ...i16(format),
    ]),
  );
export const dataRow = (values: (string | Uint8Array | null)[]): Uint8Array =>
  frame('D', i16(values.length), ...values.map(counted));
export const commandComplete = (tag: string): Uint8Array => frame('C', z(tag));
export const errorResponse = (fields: Readonly<Record<string, string>>): Uint8Array =>
  frame('E', ...Object.entries(fields).flatMap(([letter, value]) => [letter, z(value)]), [0]);
export const noticeResponse = (fields: Readonly<Record<string, string>>): Uint8Array =>
  frame('N', ...Object.entries(fields).flatMap(([letter, value]) => [letter, z(value)]), [0]);
export const notification = (pid: number, channel: string, payload: string): Uint8Array =>
  frame('A', i32(pid), z(channel), z(payload));
export const parameterDescription = (types: number[]): Uint8Array => frame('t', i16(types.length), ...types.map(i32));
export const copyInResponse = (columns: number): Uint8Array =>
  frame('G', [0], i16(columns), ...Array.from({ length: columns }, () => i16(0)));
export const copyOutResponse = (columns: number): Uint8Array =>
  frame('H', [0], i16(columns), ...Array.from({ length: columns }, () => i16(0)));
export const copyBothResponse = (): Uint8Array => frame('W', [0], i16(0));

// Replication, inside CopyData.

export const xlogData = (start: bigint, end: bigint, at: bigint, payload: Part): Uint8Array =>
  copyData(join('w', i64(start), i64(end), i64(at), payload));
export const keepalive = (end: bigint, at: bigint, reply: boolean): Uint8Array =>
  copyData(join('k', i64(end), i64(at), [reply ? 1 : 0]));
export const standbyStatus = (
  written: bigint,
  flushed: bigint,
  applied: bigint,
  at: bigint,
  reply: boolean,
): Uint8Array => copyData(join('r', i64(written), i64(flushed), i64(applied), i64(at), [reply ? 1 : 0]));

// pgoutput payloads. `undefined` in a row is an unchanged TOAST value; a Uint8Array a binary one.

export type TupleValue = string | Uint8Array | null | undefined;

export function tuple(values: TupleValue[]): Uint8Array {
  return join(
    i16(values.length),
    ...values.map((value): number[] => {
      if (value === null) return [0x6e];
      if (value === undefined) return [0x75];
      return [typeof value === 'string' ? 0x74 : 0x62, ...counted(value)];
    }),
  );
}

/** `xid` is only given inside a streamed block. */
const streamed = (xid: number | undefined): number[] => (xid === undefined ? [] : i32(xid));

export const pgoutput = {
  begin: (finalLsn: bigint, at: bigint, xid: number) => join('B', i64(finalLsn), i64(at), i32(xid)),
  commit: (commitLsn: bigint, endLsn: bigint, at: bigint) => join('C', [0], i64(commitLsn), i64(endLsn), i64(at)),
  origin: (lsn: bigint, name: string) => join('O', i64(lsn), z(name)),
  relation: (
    oid: number,
    schema: string,
    name: string,
    identity: string,
    columns: { key?: boolean; name: string; type: number; typmod?: number }[],
    xid?: number,
  ) =>
    join(
      'R',
      streamed(xid),
      i32(oid),
      z(schema),
      z(name),
      identity,
      i16(columns.length),
      ...columns.map((column) => [
        column.key === true ? 1 : 0,
        ...z(column.name),
        ...i32(column.type),
        ...i32(column.typmod ?? -1),
      ]),
    ),
  type: (oid: number, schema: string, name: string, xid?: number) =>
    join('Y', streamed(xid), i32(oid), z(schema), z(name)),
  insert: (relation: number, row: TupleValue[], xid?: number) =>
    join('I', streamed(xid), i32(relation), 'N', tuple(row)),
  update: (relation: number, old: ['K' | 'O', TupleValue[]] | null, row: TupleValue[], xid?: number) =>
    join('U', streamed(xid), i32(relation), ...(old === null ? [] : [old[0], tuple(old[1])]), 'N', tuple(row)),
  delete: (relation: number, kind: 'K' | 'O', old: TupleValue[], xid?: number) =>
    join('D', streamed(xid), i32(relation), kind, tuple(old)),
  truncate: (relations: number[], options = 0, xid?: number) =>
    join('T', streamed(xid), i32(relations.length), [options], ...relations.map(i32)),
  message: (transactional: boolean, lsn: bigint, prefix: string, content: string, xid?: number) =>
    join('M', streamed(xid), [transactional ? 1 : 0], i64(lsn), z(prefix), counted(content)),
  streamStart: (xid: number, first: boolean) => join('S', i32(xid), [first ? 1 : 0]),
  streamStop: () => join('E'),
  streamCommit: (xid: number, commitLsn: bigint, endLsn: bigint, at: bigint) =>
    join('c', i32(xid), [0], i64(commitLsn), i64(endLsn), i64(at)),
  streamAbort: (xid: number, subxid: number, abort?: [lsn: bigint, at: bigint]) =>
    join('A', i32(xid), i32(subxid), ...(abort ?? []).map(i64)),
  beginPrepare: (prepareLsn: bigint, endLsn: bigint, at: bigint, xid: number, gid: string) =>
    join('b', i64(prepareLsn), i64(endLsn), i64(at), i32(xid), z(gid)),
  prepare: (prepareLsn: bigint, endLsn: bigint, at: bigint, xid: number, gid: string) =>
    join('P', [0], i64(prepareLsn), i64(endLsn), i64(at), i32(xid), z(gid)),
  commitPrepared: (commitLsn: bigint, endLsn: bigint, at: bigint, xid: number, gid: string) =>
    join('K', [0], i64(commitLsn), i64(endLsn), i64(at), i32(xid), z(gid)),
  rollbackPrepared: (prepareEnd: bigint, rollbackEnd: bigint, prepared: bigint, at: bigint, xid: number, gid: string) =>
    join('r', [0], i64(prepareEnd), i64(rollbackEnd), i64(prepared), i64(at), i32(xid), z(gid)),
  streamPrepare: (prepareLsn: bigint, endLsn: bigint, at: bigint, xid: number, gid: string) =>
    join('p', [0], i64(prepareLsn), i64(endLsn), i64(at), i32(xid), z(gid)),
};
