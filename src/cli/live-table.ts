// The table that `skerry up` and `skerry status` show: pure, from statuses to lines.

import type { RoleStatus } from '../contracts/health.ts';
import { parseLsn } from '../pg/lsn.ts';

/** One place of the world and what it last said; null when it does not answer. */
export interface Row {
  readonly name: string;
  readonly url: string;
  readonly status: RoleStatus | null;
  /** Why there is no status. */
  readonly reason: string;
  /** Answers per second since the last look; null when that is not known yet. */
  readonly answersPerSecond: number | null;
  readonly restarts: number;
}

export interface TableView {
  /** The core's position, or null when it does not answer. */
  readonly corePosition: string | null;
  readonly proxy: ProxyRow;
  readonly rows: readonly Row[];
}

/** The proxy in front of the core; it holds no rows. */
export interface ProxyRow {
  readonly url: string;
  /** Null when it does not answer. */
  readonly status: {
    readonly state: string;
    readonly clients: number;
    readonly waiting: number;
    readonly queriesPerSecond: number;
  } | null;
  readonly reason: string;
  readonly restarts: number;
}

const HEADER = ['', 'state', 'position', 'behind', 'lag', 'rows', 'answers/s', 'address'];
const RIGHT_ALIGNED = new Set([3, 4, 5, 6]);

/** Lines no wider than `columns`. */
export function tableLines(view: TableView, columns: number): string[] {
  const cells = [
    HEADER,
    coreCells(view),
    proxyCells(view.proxy),
    ...view.rows.map((row) => rowCells(row, view.corePosition)),
  ];
  const widths = HEADER.map((_, index) => Math.max(...cells.map((row) => (row[index] ?? '').length)));
  return cells.map((row) =>
    row
      .map((cell, index) =>
        RIGHT_ALIGNED.has(index) ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd()
      .slice(0, columns),
  );
}

/** One line for logs and pipes. */
export function tableSentence(view: TableView): string {
  const parts = view.rows.map((row) =>
    row.status === null
      ? `${row.name} away (${row.reason})`
      : `${row.name} ${row.status.position} lag ${lagText(row.status)} rows ${row.status.rows}${row.answersPerSecond === null || row.status.role === 'relay' ? '' : ` ${Math.round(row.answersPerSecond)}/s`}`,
  );
  const { status, reason } = view.proxy;
  const proxy =
    status === null ? `away (${reason})` : `${clientsText(status)} ${Math.round(status.queriesPerSecond)}/s`;
  return `core ${view.corePosition ?? 'away'} | proxy ${proxy} | ${parts.join(' | ')}`;
}

function coreCells(view: TableView): string[] {
  return ['core', view.corePosition === null ? 'away' : 'serving', view.corePosition ?? '', '', '', '', '', ''];
}

function proxyCells({ url, status, reason, restarts }: ProxyRow): string[] {
  const name = restarts === 0 ? 'proxy' : `proxy (restarted ${restarts}×)`;
  if (status === null) return [name, 'away', '', '', '', '', '', reason];
  return [name, status.state, clientsText(status), '', '', '', grouped(Math.round(status.queriesPerSecond)), url];
}

function clientsText({ clients, waiting }: { readonly clients: number; readonly waiting: number }): string {
  const word = clients === 1 ? 'client' : 'clients';
  return `${clients} ${word}${waiting === 0 ? '' : `, ${waiting} wait`}`;
}

function rowCells(row: Row, corePosition: string | null): string[] {
  const { status } = row;
  const placed = status?.placement === undefined ? row.name : `${row.name} [${status.placement}]`;
  const name = row.restarts === 0 ? placed : `${placed} (restarted ${row.restarts}×)`;
  if (status === null) return [name, 'away', '', '', '', '', '', row.reason];
  return [
    name,
    status.state,
    status.position,
    corePosition === null ? '' : bytesText(distance(status.position, corePosition)),
    lagText(status),
    grouped(status.rows),
    // A relay answers nobody's statements.
    row.answersPerSecond === null || status.role === 'relay' ? '' : grouped(Math.round(row.answersPerSecond)),
    row.url,
  ];
}

function distance(position: string, core: string): number {
  const bytes = parseLsn(core) - parseLsn(position);
  return bytes > 0n ? Number(bytes) : 0;
}

function lagText(status: RoleStatus): string {
  // JSON has no Infinity: a replica that never was equal to its upstream says null, or the largest number there is.
  const ms = status.lagMs as number | null;
  if (ms === null || ms >= Number.MAX_SAFE_INTEGER) return '';
  return ms < 10
    ? `${Math.round(ms * 10) / 10} ms`
    : ms < 10_000
      ? `${Math.round(ms)} ms`
      : `${Math.round(ms / 1000)} s`;
}

function bytesText(bytes: number): string {
  return bytes < 10_000
    ? `${bytes} B`
    : bytes < 10_000_000
      ? `${Math.round(bytes / 1024)} kB`
      : `${Math.round(bytes / 1024 ** 2)} MB`;
}

function grouped(count: number): string {
  return count.toString().replaceAll(/\B(?=(\d{3})+$)/g, ',');
}
