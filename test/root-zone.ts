// The DNS root zone and what really changed in it: real input for system tests, demonstrations and benches.

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';

export interface ZoneRecord {
  readonly name: string;
  readonly ttl: number;
  readonly type: string;
  readonly rdata: string;
}

export interface ZoneChange {
  readonly op: '+' | '-';
  readonly record: ZoneRecord;
}

export interface ZoneVersion {
  readonly at: string;
  readonly changes: readonly ZoneChange[];
}

/** Folder of the data, or null (with the reason printed) when it is not there. */
export function rootZoneFolder(): string | null {
  const folder = resolve(process.env['SKERRY_DATA_DIR'] ?? join(import.meta.dir, '..', '..', 'shared', 'data'));
  if (existsSync(join(folder, 'root-zone-base.tsv.gz'))) return folder;
  console.log(`skipped: no root zone data in ${folder}; set SKERRY_DATA_DIR to the folder with root-zone-*.tsv.gz`);
  return null;
}

export function readZone(folder: string, which: 'base' | 'final'): ZoneRecord[] {
  return lines(folder, which).map((line) => toRecord(line.split('\t')));
}

/** All lines with one `at` are one version: one transaction. */
export function readVersions(folder: string): ZoneVersion[] {
  const versions: { at: string; changes: ZoneChange[] }[] = [];
  for (const line of lines(folder, 'changes')) {
    const [at, op, ...rest] = line.split('\t') as [string, '+' | '-', ...string[]];
    if (versions.at(-1)?.at !== at) versions.push({ at, changes: [] });
    versions.at(-1)?.changes.push({ op, record: toRecord(rest) });
  }
  return versions;
}

/** One line per record, in the file's own form, sorted: what two zones are compared by. */
export function zoneText(records: readonly ZoneRecord[]): string {
  return records
    .map((record) => `${record.name}\t${record.ttl}\t${record.type}\t${record.rdata}\n`)
    .sort()
    .join('');
}

function lines(folder: string, which: string): string[] {
  const text = gunzipSync(readFileSync(join(folder, `root-zone-${which}.tsv.gz`))).toString('utf8');
  return text.split('\n').slice(1).filter(Boolean);
}

function toRecord(fields: readonly string[]): ZoneRecord {
  const [name, ttl, type, rdata] = fields as [string, string, string, string];
  return { name, ttl: Number(ttl), type, rdata };
}
