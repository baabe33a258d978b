// The inside of a slow lane: runs one statement after the other on a connection of its own, and hands over its rows in
// chunks when it is asked for them, so that a slow client costs no memory.

import type { MessagePort } from '../base/worker.ts';
import { ReplicaReader } from '../replica/reader.ts';
import { registerFunctions } from './sql/functions.ts';
import type { SqliteValue, Statement } from '../replica/sqlite.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { type ColumnWriter, columnWriter, typeLookup } from './columns.ts';
import { formatAt, writeDataRow } from './local.ts';
import type { SlowChunk, SlowFile, SlowRequest } from './slow-lanes.ts';

const CHUNK_BYTES = 128 * 1024;

/** A statement that may fail half-way is run to its end before the first row goes out, in at most this much memory. */
const COLLECT_BYTES_MAX = 64 * 1024 * 1024;

/** Scans profit from more pages in memory than lookups do. */
const CACHE_KIB = 64 * 1024;

interface Running {
  readonly rows: Iterator<SqliteValue[]>;
  readonly statement: Statement;
  readonly writers: readonly ColumnWriter[];
  readonly mayFail: boolean;
  sent: boolean;
  /** Collected ahead when the statement may fail. */
  ahead: Buffer[];
  aheadRows: number[];
  exhausted: boolean;
}

const FORWARD: SlowChunk = { bytes: new Uint8Array(0), rows: 0, done: true, forward: true };
const END: SlowChunk = { bytes: new Uint8Array(0), rows: 0, done: true, forward: false };

/** Serves one parent until the process ends. */
export function serveSlowLane(port: MessagePort<SlowChunk, SlowRequest>): void {
  let reader: ReplicaReader | null = null;
  let opened = '';
  let running: Running | null = null;
  /** The snapshot belongs to a transaction block, which may read from it again. */
  let pinned = false;
  const finish = (): void => {
    const was = running;
    running = null;
    was?.rows.return?.();
    was?.statement.finalize();
    if (!pinned) reader?.end();
  };
  /** The reader of that file, in a snapshot; a pinned one keeps the one it has. */
  const enter = ({ generation, path }: SlowFile): ReplicaReader => {
    const wanted = `${generation} ${path}`;
    if (opened !== wanted) {
      reader?.close();
      opened = '';
      reader = new ReplicaReader(path, { cacheKib: CACHE_KIB });
      registerFunctions(reader.sqlite);
      opened = wanted;
    }
    const current = reader as ReplicaReader;
    if (!current.isInSnapshot) current.begin();
    return current;
  };
  const open = (request: SlowRequest & { type: 'open' }): Running | null => {
    const current = enter(request);
    const { catalogueVersion, position } = current.state();
    const { plan, at } = request;
    // Another snapshot will do where the tables are the same in it.
    const isSame = at === null || position.lsn === at || current.isUnchangedSince(plan.tables, at);
    if (catalogueVersion !== request.catalogueVersion || !isSame) {
      if (!pinned) current.end();
      return null;
    }
    const lookup = typeLookup(current.catalogue());
    const writers = request.plan.columns.map(
      (column, index) => columnWriter(column, formatAt(request.formats, index), lookup) as ColumnWriter,
    );
    const statement = current.sqlite.prepare(request.plan.sql);
    return {
      rows: statement.iterate(request.values),
      statement,
      writers,
      mayFail: request.plan.mayFail,
      sent: false,
      ahead: [],
      aheadRows: [],
      exhausted: false,
    };
  };
  let failed = false;
  port.onMessage = (request) => {
    switch (request.type) {
      case 'open':
        finish();
        failed = false;
        try {
          running = open(request);
          failed = running === null;
        } catch {
          failed = true;
        }
        return;
      case 'pin':
        finish();
        try {
          enter(request);
          pinned = true;
        } catch {
          // Whoever reads from it is told.
          pinned = false;
        }
        return;
      case 'unpin':
        pinned = false;
        finish();
        return;
      case 'next':
        if (failed || running === null) return port.post(failed ? FORWARD : END);
        try {
          port.post(nextChunk(running, request.rowsMax));
        } catch (error) {
          const { sent } = running;
          finish();
          // After the first row there is no way back: the lane ends, and the client gets an error.
          if (sent) throw error;
          failed = true;
          port.post(FORWARD);
        }
        return;
      case 'close':
        finish();
        return;
    }
  };
}

function nextChunk(running: Running, rowsMax: number): SlowChunk {
  if (running.mayFail && !running.sent && rowsMax === 0) return collected(running);
  const chunk = readChunk(running, rowsMax);
  running.sent = true;
  return chunk;
}

/** All chunks are made before the first is sent. */
function collected(running: Running): SlowChunk {
  let total = 0;
  if (running.ahead.length === 0) {
    for (;;) {
      const chunk = readChunk(running, 0);
      running.ahead.push(Buffer.from(chunk.bytes));
      running.aheadRows.push(chunk.rows);
      total += chunk.bytes.length;
      if (chunk.done) break;
      if (total > COLLECT_BYTES_MAX) throw new Error('too much to collect');
    }
  }
  const bytes = running.ahead.shift() as Buffer;
  const rows = running.aheadRows.shift() as number;
  const done = running.ahead.length === 0;
  if (done) running.sent = true;
  return { bytes, rows, done, forward: false };
}

function readChunk(running: Running, rowsMax: number): SlowChunk {
  const out = new ByteWriter();
  let rows = 0;
  while (!running.exhausted && out.length < CHUNK_BYTES && (rowsMax === 0 || rows < rowsMax)) {
    const next = running.rows.next();
    if (next.done === true) {
      running.exhausted = true;
      break;
    }
    writeDataRow(next.value, running.writers, out);
    rows += 1;
  }
  return { bytes: out.take(), rows, done: running.exhausted, forward: false };
}
