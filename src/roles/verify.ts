// `skerry verify`: proves by checksum that the core, the relay and every edge hold the same rows at the same LSN.
//
// Everything moves while it is compared, so nobody is asked for "now": each place is asked once and says at which position it
// answered. The relay's replica, held back before anybody was asked, is then moved to exactly these positions, one after the
// other, and compared at each. Equal sums at equal positions, for all tables, with the core among the places, is the proof.
//
//   hold the relay ─▶ ask edges and core (each: position, sums) ─▶ relay at each position, ascending ─▶ compare ─▶ release
//
// Faults (code: what the operator reads in it)
//   verify-incomparable    a place did not answer, is of another epoch, or stayed behind the relay

import type { Clock } from '../base/clock.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { ChecksumReport, TableChecksum } from '../contracts/health.ts';
import { type Lsn, parseLsn } from '../pg/lsn.ts';

/** The places to compare, however they are reached. */
export interface VerifyPlaces {
  /** Stops the relay's replica where it is. */
  holdRelay(): Promise<void>;
  /**
   * Moves it forward to `at` and sums it up there, as far as a placement holds it (null: all). Rejects with Fault
   * `position-passed` when it is beyond.
   */
  relayAt(at: string, placement: string | null): Promise<ChecksumReport>;
  releaseRelay(): Promise<void>;
  /** The core and the edges: each answers with the position that its sums belong to. */
  readonly others: readonly { readonly name: string; ask(): Promise<ChecksumReport> }[];
}

export interface TableComparison {
  readonly table: string;
  /** Null: this place does not have the table. */
  readonly rows: number | null;
  readonly relayRows: number | null;
  readonly equal: boolean;
}

export interface PlaceComparison {
  readonly name: string;
  readonly position: string;
  /** Name of the placement that both were restricted to; absent: everything. */
  readonly placement?: string;
  readonly equal: boolean;
  readonly tables: readonly TableComparison[];
}

export interface Verdict {
  readonly equal: boolean;
  readonly relay: string;
  readonly places: readonly PlaceComparison[];
}

// An edge that follows is ahead of a held relay within moments; one that is not has a problem that the sentence names.
const BEHIND_WAIT_MS = 10_000;
const BEHIND_POLL_MS = 50;

/** Compares once. Rejects with Fault `verify-incomparable`; the relay is released in any case. */
export async function verifyOnce(places: VerifyPlaces, clock: Clock): Promise<Verdict> {
  await places.holdRelay();
  try {
    const deadline = clock.now() + BEHIND_WAIT_MS;
    const compared: PlaceComparison[] = [];
    let waiting = await Promise.all(places.others.map(ask));
    let relay = null as ChecksumReport | null;
    while (waiting.length > 0) {
      waiting = waiting.toSorted((a, b) => compareLsn(a.lsn, b.lsn));
      const next = waiting.shift() as Answer;
      const found: ChecksumReport | null =
        relay?.position === next.report.position && relay.placement === next.report.placement
          ? relay
          : await relayAt(places, next.report.position, next.report.placement ?? null);
      if (found === null) {
        waiting.push(await askLater(next, deadline, clock));
        continue;
      }
      relay = found;
      compared.push(comparePlace(next.report, relay));
    }
    const order = places.others.map((place) => place.name);
    compared.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
    return { equal: compared.every((place) => place.equal), relay: relay?.name ?? 'relay', places: compared };
  } finally {
    await places.releaseRelay().catch(() => {}); // It releases itself after a while.
  }
}

/** Compares again and again until all is equal or the time is over; then gives the last verdict or throws the last fault. */
export async function verifyUntilEqual(places: VerifyPlaces, clock: Clock, timeoutMs: number): Promise<Verdict> {
  const deadline = clock.now() + timeoutMs;
  for (;;) {
    const last = await verifyOnce(places, clock).then(
      (verdict) => ({ verdict, error: null }),
      (error: unknown) => ({ verdict: null, error }),
    );
    if (last.verdict?.equal === true) return last.verdict;
    if (clock.now() >= deadline) {
      if (last.verdict !== null) return last.verdict;
      throw last.error;
    }
    await clock.sleep(BEHIND_POLL_MS);
  }
}

/** One sentence for people. */
export function verdictSentence(verdict: Verdict): string {
  const bad = verdict.places.filter((place) => !place.equal);
  if (bad.length === 0)
    return `equal: ${verdict.places.map((place) => place.name).join(', ')} and ${verdict.relay} hold the same rows`;
  return bad
    .map((place) => {
      const tables = place.tables.filter((table) => !table.equal).map((table) => table.table);
      return `${place.name} differs from ${verdict.relay} at ${place.position} in ${tables.join(', ')}`;
    })
    .join('; ');
}

interface Answer {
  readonly place: VerifyPlaces['others'][number];
  readonly report: ChecksumReport;
  readonly lsn: Lsn;
}

async function ask(place: VerifyPlaces['others'][number]): Promise<Answer> {
  try {
    const report = await place.ask();
    return { place, report: { ...report, name: place.name }, lsn: parseLsn(report.position) };
  } catch (error) {
    if (error instanceof Fault && error.code === 'verify-incomparable') throw error;
    throw new Fault('verify-incomparable', {
      message: `${place.name} gave no checksum: ${describeError(error)}`,
      hint: 'look at `skerry status`',
      retryable: true,
      cause: error,
    });
  }
}

/** Null when the relay's replica was past `at` already when it was held: whoever answered for `at` lags and is to be asked again. */
async function relayAt(places: VerifyPlaces, at: string, placement: string | null): Promise<ChecksumReport | null> {
  try {
    return await places.relayAt(at, placement);
  } catch (error) {
    if (error instanceof Fault && error.code === 'position-passed') return null;
    throw error;
  }
}

async function askLater(answer: Answer, deadline: number, clock: Clock): Promise<Answer> {
  if (clock.now() >= deadline) {
    throw new Fault('verify-incomparable', {
      message: `${answer.place.name} stays at ${answer.report.position}, behind the relay`,
      hint: 'wait until it has caught up (`skerry verify --wait`)',
      retryable: true,
    });
  }
  await clock.sleep(BEHIND_POLL_MS);
  return ask(answer.place);
}

function comparePlace(report: ChecksumReport, relay: ChecksumReport): PlaceComparison {
  if (report.epoch.systemId !== relay.epoch.systemId || report.epoch.timeline !== relay.epoch.timeline) {
    throw new Fault('verify-incomparable', {
      message: `${report.name} is of epoch ${report.epoch.systemId}/${report.epoch.timeline}, ${relay.name} of ${relay.epoch.systemId}/${relay.epoch.timeline}`,
      hint: 'the same LSN of two histories is not the same moment; wait until both follow the same core',
      retryable: true,
    });
  }
  if (relay.position !== report.position) {
    throw new Fault('verify-incomparable', {
      message: `${relay.name} answered for ${relay.position} instead of ${report.position}`,
      retryable: true,
    });
  }
  const byName = (tables: readonly TableChecksum[]): Map<string, TableChecksum> =>
    new Map(tables.map((table) => [table.table, table]));
  const [here, there] = [byName(report.tables), byName(relay.tables)];
  const tables = [...new Set([...here.keys(), ...there.keys()])].sort().map((table): TableComparison => {
    const [a, b] = [here.get(table), there.get(table)];
    return {
      table,
      rows: a?.rows ?? null,
      relayRows: b?.rows ?? null,
      equal: a !== undefined && b !== undefined && a.rows === b.rows && a.sum === b.sum,
    };
  });
  const { name, position, placement } = report;
  const equal = tables.every((table) => table.equal);
  return { name, position, ...(placement === undefined ? {} : { placement }), equal, tables };
}

function compareLsn(a: Lsn, b: Lsn): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
