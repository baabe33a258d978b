// Key/value over HTTP:
//
//   GET HEAD  /kv/<table>/<key>[/<key>…]           one row as JSON, or one column as it is with ?column=<name>
//   PUT       the same path                         a JSON object of columns, or with ?column= the bytes of one
//   DELETE    the same path
//   GET       /kv/<table>?key=…&key=…               many rows in the order asked for, null for those that are not there
//   POST      /kv/<table>  {"keys": [k | [k, …], …]} the same, for more than fit into a URL
//   GET       /kv/<table>/[<key>/…]?prefix=&after=&limit=   a page of rows in the order of the key's bytes
//
// `ETag` is the position that the row was read at and the row's digest: `"0/16B3748.uYl3…"`. If-Match and If-None-Match compare
// the digest. `skerry-lsn` and `skerry-token` name the position; `wait-for=<lsn or token>` (or the header `skerry-wait-for`) has a read
// wait until this PoP is there. After a write the PoP waits for its own copy of it, within the bound of own writes.

import type { Clock } from '../../base/clock.ts';
import { Fault } from '../../base/fault.ts';
import type { ReplicaFeed } from '../../contracts/replica-feed.ts';
import { type Epoch, formatLsn, LSN_ZERO, type Lsn, parseLsn } from '../../pg/lsn.ts';
import { OID } from '../../pg/oid.ts';
import { isCoreAway } from '../faults.ts';
import type { LocalEngine } from '../local.ts';
import { formatToken, parseToken, requireSameSystem } from '../token.ts';
import { waitForPosition } from '../wait.ts';
import { ANY_ROW, type KvCondition, KvFault, type KvRow, type KvRows, type KvTable, rowJson } from './rows.ts';

export interface KvHttpDeps {
  readonly clock: Clock;
  readonly feed: ReplicaFeed;
  readonly engine: LocalEngine;
  readonly rows: KvRows;
  /** How long a writer waits for its own write to arrive here. */
  readonly ownWriteWaitMs: number;
}

/** Rows of one batch or page. */
const ROWS_MAX = 1000;
const ROWS_DEFAULT = 100;

const WAIT_MS_DEFAULT = 500;
const WAIT_MS_MAX = 60_000;

export const KV_PATH = '/kv/';

const WAIT_HEADER = 'skerry-wait-for';

/**
 * Answers one request below `/kv/`; `path` is the URL behind the host. Never rejects: what is wrong is in the answer. A row that is here is
 * answered at once, without a promise: that is what an edge is asked for thousands of times a second.
 */
export function answerKv(deps: KvHttpDeps, request: Request, path: string): Response | Promise<Response> {
  if (request.method !== 'GET' || path.includes('?') || path.endsWith('/') || request.headers.has(WAIT_HEADER)) {
    return answerAny(deps, request);
  }
  try {
    const [name, ...key] = path.slice(KV_PATH.length).split('/').map(decodeSegment);
    if (key.length === 0) return answerAny(deps, request);
    const table = deps.rows.table(name as string);
    const found = deps.rows.get(table, key);
    if (found instanceof Promise) return found.then((row) => rowOrNone(deps, request, table, row)).catch(problemOf);
    return rowOrNone(deps, request, table, found);
  } catch (error) {
    return problemOf(error);
  }
}

function rowOrNone(deps: KvHttpDeps, request: Request, table: KvTable, row: KvRow | null): Response {
  if (row === null) throw unknownKey(table);
  return answerRow(deps, request, null, table, row);
}

function unknownKey(table: KvTable): KvFault {
  return new KvFault(404, 'key-unknown', `${table.label} has no row with that key`);
}

async function answerAny(deps: KvHttpDeps, request: Request): Promise<Response> {
  try {
    const url = new URL(request.url);
    const segments = url.pathname.slice(KV_PATH.length).split('/').map(decodeSegment);
    const table = deps.rows.table(segments[0] as string);
    const waited = await waitAsAsked(deps, request, url);
    if (waited !== null) return waited;
    // An empty last segment is the slash of a listing; a key that is the empty text cannot be told from it.
    const isListing = segments.length === 1 || segments.at(-1) === '';
    const key = segments.slice(1, segments.length > 1 && isListing ? -1 : undefined);
    return isListing ? await manyRows(deps, request, url, table, key) : await oneRow(deps, request, url, table, key);
  } catch (error) {
    return problemOf(error);
  }
}

async function oneRow(
  deps: KvHttpDeps,
  request: Request,
  url: URL,
  table: KvTable,
  key: readonly string[],
): Promise<Response> {
  switch (request.method) {
    case 'GET':
    case 'HEAD': {
      const found = deps.rows.get(table, key);
      const row = found instanceof Promise ? await found : found;
      if (row === null) throw unknownKey(table);
      return answerRow(deps, request, url.searchParams.get('column'), table, row);
    }
    case 'PUT':
      return await put(deps, request, url, table, key);
    case 'DELETE': {
      const lsn = await deps.rows.delete(table, key, conditionOf(request));
      if (lsn === null) throw unknownKey(table);
      return new Response(null, { status: 204, headers: await writtenHeaders(deps, lsn) });
    }
    default:
      throw notAllowed(request, 'GET, HEAD, PUT, DELETE');
  }
}

function answerRow(deps: KvHttpDeps, request: Request, column: string | null, table: KvTable, row: KvRow): Response {
  const json = rowJson(row);
  const digest = deps.rows.digest(json);
  const headers: Record<string, string> = positionHeaders(deps, deps.engine.position);
  headers['etag'] = etagOf(headers['skerry-lsn'] as string, digest);
  const known = request.headers.get('if-none-match');
  if (known !== null && (known.trim() === '*' || digestsIn(known).includes(digest))) {
    return new Response(null, { status: 304, headers });
  }
  if (column === null) {
    headers['content-type'] = 'application/json';
    return new Response(json, { headers });
  }
  const at = row.columns.findIndex(({ name }) => name === column);
  if (at < 0) throw new KvFault(400, 'column-unknown', `${table.label} has no column ${column}`);
  const text = row.texts[at] as string | null;
  if (text === null) return new Response(null, { status: 204, headers });
  const { typeOid } = row.columns[at] as KvRow['columns'][number];
  headers['content-type'] = contentType(typeOid);
  return new Response(typeOid === OID.bytea ? Buffer.from(text.slice(2), 'hex') : text, { headers });
}

async function put(
  deps: KvHttpDeps,
  request: Request,
  url: URL,
  table: KvTable,
  key: readonly string[],
): Promise<Response> {
  const column = url.searchParams.get('column');
  const body = new Uint8Array(await request.arrayBuffer());
  const values = column === null ? { json: jsonText(body) } : { column, bytes: body };
  const { value, lsn } = await deps.rows.put(table, key, values, conditionOf(request));
  const headers = await writtenHeaders(deps, lsn);
  headers['etag'] = etagOf(headers['skerry-lsn'] as string, deps.rows.digest(rowJson(value.row)));
  return new Response(null, { status: value.created ? 201 : 204, headers });
}

async function manyRows(
  deps: KvHttpDeps,
  request: Request,
  url: URL,
  table: KvTable,
  leading: readonly string[],
): Promise<Response> {
  if (request.method === 'POST') {
    const keys = batchKeys(jsonText(new Uint8Array(await request.arrayBuffer())));
    return await batch(deps, table, keys);
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') throw notAllowed(request, 'GET, HEAD, POST');
  const { searchParams } = url;
  const keys = searchParams.getAll('key');
  if (keys.length > 0)
    return await batch(
      deps,
      table,
      keys.map((key) => [...leading, key]),
    );
  const limit = wholeOf(searchParams.get('limit'), 'limit', ROWS_DEFAULT, ROWS_MAX);
  const page = await deps.rows.range(table, {
    leading,
    prefix: searchParams.get('prefix'),
    after: searchParams.get('after'),
    limit,
  });
  const last = page.more ? page.rows.at(-1) : undefined;
  const nextColumn = table.keys[leading.length]?.name;
  const next = last?.texts[last.columns.findIndex(({ name }) => name === nextColumn)] ?? null;
  return answerRows(deps, page.rows, page.more ? `,"next":${JSON.stringify(next)}` : '');
}

async function batch(deps: KvHttpDeps, table: KvTable, keys: readonly (readonly string[])[]): Promise<Response> {
  if (keys.length > ROWS_MAX) {
    throw new KvFault(
      400,
      'too-many-keys',
      `${keys.length} keys in one request`,
      `ask for at most ${ROWS_MAX} at once`,
    );
  }
  const rows: (KvRow | null)[] = [];
  for (const key of keys) rows.push(await deps.rows.get(table, key));
  return answerRows(deps, rows, '');
}

function answerRows(deps: KvHttpDeps, rows: readonly (KvRow | null)[], more: string): Response {
  const { position } = deps.engine;
  const list = rows.map((row) => (row === null ? 'null' : rowJson(row))).join(',');
  return new Response(`{"lsn":"${formatLsn(position)}","rows":[${list}]${more}}`, {
    headers: { ...positionHeaders(deps, position), 'content-type': 'application/json' },
  });
}

/** Null when the PoP is where the request wants it; else what to say. */
async function waitAsAsked(deps: KvHttpDeps, request: Request, url: URL): Promise<Response | null> {
  const wanted = url.searchParams.get('wait-for') ?? request.headers.get(WAIT_HEADER);
  if (wanted === null) return null;
  const lsn = positionIn(deps, wanted);
  const waitMs = wholeOf(url.searchParams.get('wait-ms'), 'wait-ms', WAIT_MS_DEFAULT, WAIT_MS_MAX);
  if (await waitForPosition(deps.feed, deps.clock, lsn, waitMs)) {
    // This turn's snapshot may be older than what was waited for.
    deps.engine.sees(lsn);
    return null;
  }
  return problem(
    504,
    'not-there-yet',
    `this PoP is at ${formatLsn(deps.feed.current.position)}, not yet at ${formatLsn(lsn)}`,
    {
      hint: 'try again, or ask another PoP',
    },
  );
}

function positionIn(deps: KvHttpDeps, text: string): Lsn {
  if (text.includes('/')) return parseLsn(text);
  const token = parseToken(text);
  requireSameSystem(token, deps.feed.current.epoch?.systemId ?? null);
  return token.lsn;
}

/** The texts of one position serve many answers. */
let lastPosition: {
  readonly lsn: Lsn;
  readonly epoch: Epoch | null;
  readonly text: string;
  readonly token: string | null;
} = { lsn: LSN_ZERO, epoch: null, text: formatLsn(LSN_ZERO), token: null };

function positionHeaders(deps: KvHttpDeps, lsn: Lsn): Record<string, string> {
  const { epoch } = deps.feed.current;
  if (lsn !== lastPosition.lsn || epoch !== lastPosition.epoch) {
    lastPosition = { lsn, epoch, text: formatLsn(lsn), token: epoch === null ? null : formatToken({ epoch, lsn }) };
  }
  const { text, token } = lastPosition;
  return token === null ? { 'skerry-lsn': text } : { 'skerry-lsn': text, 'skerry-token': token };
}

/** Waits for the write to arrive here, so that the next read at this PoP has it. */
async function writtenHeaders(deps: KvHttpDeps, lsn: Lsn): Promise<Record<string, string>> {
  const isHere = await waitForPosition(deps.feed, deps.clock, lsn, deps.ownWriteWaitMs);
  return { ...positionHeaders(deps, lsn), 'skerry-applied': String(isHere) };
}

function conditionOf(request: Request): KvCondition {
  const match = request.headers.get('if-match');
  const noneMatch = request.headers.get('if-none-match');
  if (match !== null) return match.trim() === '*' ? { is: 'there' } : { digests: digestsIn(match) };
  if (noneMatch === null) return ANY_ROW;
  if (noneMatch.trim() === '*') return { is: 'absent' };
  throw new KvFault(400, 'condition-unknown', 'If-None-Match of a write can only be *', 'use If-Match with an ETag');
}

function etagOf(lsn: string, digest: string): string {
  return `"${lsn}.${digest}"`;
}

/** Digests of all ETags in a header. */
function digestsIn(header: string): string[] {
  return [...header.matchAll(/"[^".]*\.([\w-]+)"/g)].map((match) => match[1] as string);
}

function contentType(typeOid: number): string {
  if (typeOid === OID.bytea) return 'application/octet-stream';
  return typeOid === OID.json || typeOid === OID.jsonb ? 'application/json' : 'text/plain; charset=utf-8';
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new KvFault(400, 'key-invalid', 'the path is not valid percent-encoding');
  }
}

function jsonText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new KvFault(400, 'body-invalid', 'the body is not UTF-8');
  }
}

function batchKeys(text: string): string[][] {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new KvFault(400, 'body-invalid', `the body is not JSON: ${(error as Error).message}`);
  }
  const keys = (body as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys)) throw new KvFault(400, 'body-invalid', 'the body is not {"keys": […]}');
  return keys.map((key: unknown) => (Array.isArray(key) ? key.map(String) : [String(key)]));
}

function wholeOf(text: string | null, name: string, otherwise: number, max: number): number {
  if (text === null) return otherwise;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value < 1) throw new KvFault(400, 'number-invalid', `${name} must be a whole number from 1 to ${max}`);
  return Math.min(value, max);
}

function notAllowed(request: Request, allowed: string): KvFault {
  return new KvFault(405, 'method-not-allowed', `${request.method} is not possible here`, `there are ${allowed}`);
}

function problemOf(error: unknown): Response {
  if (!(error instanceof Fault)) throw error;
  return problem(statusOf(error), error.code, error.message, {
    ...(error.sqlstate === 'XX000' ? {} : { sqlstate: error.sqlstate }),
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}

/** HTTP's word for what Postgres says. */
function statusOf(error: Fault): number {
  if (error instanceof KvFault) return error.status;
  const { sqlstate, code } = error;
  if (code === 'lsn-invalid' || code.startsWith('token-')) return 400;
  if (isCoreAway(error) || code === 'too-many-writes' || code === 'edge-stopping') return 503;
  if (sqlstate === '42501') return 403;
  if (sqlstate === '23505' || sqlstate.startsWith('40')) return 409;
  if (/^(22|23|42)/.test(sqlstate)) return 400;
  // A trigger's RAISE EXCEPTION is the application's own refusal.
  return sqlstate === 'P0001' ? 422 : 500;
}

function problem(status: number, code: string, message: string, more: Readonly<Record<string, string>> = {}): Response {
  return Response.json({ error: { code, message, ...more } }, { status });
}
