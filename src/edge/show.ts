// SHOW skerry.…: where an answer came from and how old it is. And the one-column result that SHOW has.

import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import { formatLsn } from '../pg/lsn.ts';
import { OID } from '../pg/oid.ts';
import { beginDataRow, endDataRow, writeRowDescription, writeTextValue } from '../wire/backend.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import type { LocalEngine } from './local.ts';
import { settingDisplayName } from './settings.ts';

/** Where the previous statement's answer came from. */
export interface AnsweredBy {
  readonly by: 'local' | 'forwarded' | 'session' | 'remembered';
  /** Why it was forwarded, or how it ran, or when the core said so. */
  readonly reason: string;
}

/**
 * What is told of this edge and session by SHOW, or null when `name` is none of these:
 *   skerry.lag          how far the replica is behind what it knows of, in time; `unknown` when it never was equal to its upstream
 *   skerry.age          age of its answers: time since the upstream proved that nothing is missing, also when both are idle
 *   skerry.lsn          position of the replica as the next local read sees it
 *   skerry.state        starting, bootstrapping, streaming, lost, stopping, and why
 *   skerry.answered_by  where the previous statement was answered, and why
 */
export function ownSetting(name: string, feed: ReplicaFeed, engine: LocalEngine, answered: AnsweredBy): string | null {
  switch (name) {
    case 'skerry.lag':
      return milliseconds(feed.lagMs());
    case 'skerry.age':
      return milliseconds(feed.ageMs());
    case 'skerry.lsn':
      return formatLsn(engine.position);
    case 'skerry.state':
      return `${feed.current.state}: ${feed.current.reason}`;
    case 'skerry.answered_by':
      return `${answered.by}: ${answered.reason}`;
    default:
      return null;
  }
}

function milliseconds(ms: number): string {
  return Number.isFinite(ms) ? `${Math.ceil(ms)}ms` : 'unknown';
}

/** `column`: another name for the column than the setting's. */
export function writeShowDescription(out: ByteWriter, name: string, column = settingDisplayName(name)): void {
  writeRowDescription(out, [
    { name: column, tableOid: 0, attnum: 0, typeOid: OID.text, typeSize: -1, typmod: -1, format: 0 },
  ]);
}

export function writeShowRow(out: ByteWriter, value: string): void {
  const mark = beginDataRow(out, 1);
  writeTextValue(out, value);
  endDataRow(out, mark);
}
