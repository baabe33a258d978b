// `skerry verify`: proves by checksum that core, relay and every edge hold the same rows at the same LSN.

import { Option } from 'commander';
import { Fault } from '../../base/fault.ts';
import { readWorldSecrets, readWorld } from '../../roles/status.ts';
import {
  type PlaceComparison,
  verdictSentence,
  type Verdict,
  verifyOnce,
  verifyUntilEqual,
} from '../../roles/verify.ts';
import { verifyPlaces } from '../../roles/verify-places.ts';
import { createClock } from '../../runtime/clock.ts';
import { bunHttp } from '../../runtime/http.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { EXIT, makeCommand } from '../command.ts';

const WAIT_SECONDS_DEFAULT = 60;

export const verifyCommand = makeCommand({
  name: 'verify',
  summary:
    'Prove by checksum that core, relay and every edge hold the same rows at the same LSN (exit 0 equal, 1 different, 2 could not compare).',
  groups: ['up'],
  only: ['dir'],
  own: [
    new Option('--wait', 'Compare again until all is equal.'),
    new Option('--timeout <seconds>', `Give up waiting after so long (default ${WAIT_SECONDS_DEFAULT}).`),
  ],
  async action({ config, json, own }) {
    const dir = absolutePath(config.up.dir);
    const timeoutMs = 1000 * secondsOf(own['timeout']);
    const world = readWorld(dir);
    const clock = createClock();
    const places = verifyPlaces({
      world,
      ...readWorldSecrets(dir),
      http: bunHttp,
      clock,
    });
    const verdict =
      own['wait'] === true ? await verifyUntilEqual(places, clock, timeoutMs) : await verifyOnce(places, clock);
    if (json) terminal.write(`${JSON.stringify(verdict)}\n`);
    else terminal.write(`${[...tableOf(verdict), verdictSentence(verdict)].join('\n')}\n`);
    return verdict.equal ? EXIT.ok : EXIT.no;
  },
});

function secondsOf(given: unknown): number {
  if (given === undefined) return WAIT_SECONDS_DEFAULT;
  const text = typeof given === 'string' ? given : '';
  if (/^\d+(\.\d+)?s?$/.test(text)) return Number.parseFloat(text);
  throw new Fault('config-value', { message: `--timeout: expected a number of seconds, got "${text}"` });
}

/** A line per place and per table that differs. */
function tableOf(verdict: Verdict): string[] {
  const lines = verdict.places.flatMap((place: PlaceComparison) => {
    const rows = place.tables.reduce((sum, table) => sum + (table.rows ?? 0), 0);
    const head = `${place.equal ? 'equal    ' : 'DIFFERENT'}  ${place.name.padEnd(10)}  ${place.position.padEnd(18)}  ${place.placement === undefined ? '' : `placement ${place.placement}: `}${place.tables.length} tables, ${rows} rows`;
    const bad = place.tables
      .filter((table) => !table.equal)
      .map(
        (table) =>
          `             ${table.table}: ${countText(table.rows)} here, ${countText(table.relayRows)} at ${verdict.relay}`,
      );
    return [head, ...bad];
  });
  return lines;
}

function countText(rows: number | null): string {
  return rows === null ? 'not' : `${rows} rows`;
}
