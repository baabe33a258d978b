// Conversations frame by frame: told to a server, heard from it, and made up by chance to be told to two servers.

import { seeded } from './fake-postgres.ts';
import { waitFor } from './harness.ts';
import { RawPeer } from './raw-peer.ts';
import {
  bind,
  closePortal,
  closeStatement,
  describePortal,
  describeStatement,
  execute,
  flush,
  parse,
  query,
  sync,
} from './wire-frames.ts';

export type StepFrames = readonly Uint8Array[];

export interface Heard {
  readonly type: string;
  readonly body: string;
}

/** Sends one step after the other; a step is over when each Query and Sync in it got its ReadyForQuery, or after `quiet`. */
export async function converse(
  port: number,
  steps: readonly StepFrames[],
  counts: readonly number[] | null,
): Promise<Heard[][]> {
  using peer = await RawPeer.login(port, { user: 'postgres', database: 'postgres', application_name: 'test' });
  const heard: Heard[][] = [];
  let seen = peer.frames().length;
  for (const [index, step] of steps.entries()) {
    for (const bytes of step) peer.send(bytes);
    const readies = step.filter((bytes) => bytes[0] === 0x51 || bytes[0] === 0x53 || bytes[0] === 0x46).length;
    const wanted = counts?.[index];
    let last = -1;
    let lastAt = 0;
    await waitFor(
      `step ${index} to be answered; heard ${peer
        .frames()
        .slice(seen)
        .map((frame) => frame.type)
        .join('')}`,
      () => {
        const fresh = peer.frames().slice(seen);
        const ready = fresh.filter((frame) => frame.type === 'Z').length;
        if (wanted !== undefined) return fresh.length >= wanted;
        if (readies > 0) return ready >= readies || peer.closed;
        // Without a Sync only silence tells that the core is done.
        if (fresh.length !== last) {
          last = fresh.length;
          lastAt = performance.now();
        }
        return performance.now() - lastAt > 50;
      },
      1500,
    );
    const fresh = peer.frames().slice(seen);
    seen += fresh.length;
    heard.push(fresh.map(readable));
  }
  return heard;
}

function readable({ type, body }: { type: string; body: Buffer }): Heard {
  if (type !== 'E' && type !== 'N') return { type, body: body.toString('latin1') };
  const fields = Object.fromEntries(
    body
      .toString('utf8')
      .split('\0')
      .filter(Boolean)
      .map((field) => [field[0], field.slice(1)]),
  );
  return { type, body: `${fields['V']} ${fields['C']} ${fields['M']}` };
}

/** A frame with words for it, so that a failure can be read. */
interface Said {
  readonly words: string;
  readonly bytes: Uint8Array;
}

/** One step: pipelined, its last frame is a Sync or the only Query. */
export type RandomStep = readonly Said[];

/** Tables `t` (id 1 to 3000, body) and `w` (id, v); `w` is empty before each conversation and read by none of these. */
const TEXTS: readonly (readonly [sql: string, parameters: number])[] = [
  ['SELECT id, body FROM t WHERE id = $1', 1],
  ['SELECT id, body FROM t WHERE id = $1', 1],
  ['SELECT body FROM t WHERE id = 5', 0],
  ['SELECT id FROM t WHERE id < 4 ORDER BY id', 0],
  ['SELECT count(*) FROM t', 0],
  ['SELECT f FROM t WHERE id = 7', 0],
  ['SELECT id FROM t WHERE id = $1 AND pg_backend_pid() > 0', 1],
  ["INSERT INTO w VALUES ($1, 'x')", 1],
  ["INSERT INTO w VALUES (1, 'x')", 0],
  ['SELECT nope FROM t', 0],
  ['SELEC 1', 0],
  ['SELECT 1 / (pg_backend_pid() * 0)', 0],
  ['BEGIN', 0],
  ['COMMIT', 0],
  ['ROLLBACK', 0],
  ['SAVEPOINT a', 0],
  ['ROLLBACK TO a', 0],
  ["SET application_name = 'other'", 0],
  ['SHOW application_name', 0],
  ['SET extra_float_digits = 0', 0],
  ['SET LOCAL extra_float_digits = -1', 0],
  ['SET extra_float_digits = 99', 0],
  ['RESET extra_float_digits', 0],
  ['DEALLOCATE a', 0],
  ['DEALLOCATE ALL', 0],
  ['', 0],
];

/** Blocks, savepoints, cursors and prepared statements of SQL. */
export const BLOCK_TEXTS: typeof TEXTS = [
  ['BEGIN', 0],
  ['BEGIN', 0],
  ['BEGIN ISOLATION LEVEL REPEATABLE READ', 0],
  ['START TRANSACTION READ ONLY', 0],
  ['BEGIN ISOLATION LEVEL SERIALIZABLE', 0],
  ['COMMIT', 0],
  ['ROLLBACK', 0],
  ['COMMIT AND CHAIN', 0],
  ['SAVEPOINT a', 0],
  ['SAVEPOINT b', 0],
  ['ROLLBACK TO a', 0],
  ['ROLLBACK TO b', 0],
  ['RELEASE a', 0],
  ['DECLARE c CURSOR FOR SELECT id FROM t WHERE id < 4 ORDER BY id', 0],
  ['DECLARE c SCROLL CURSOR FOR SELECT id, body FROM t WHERE id IN (1, 2, 3) ORDER BY id', 0],
  ['DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM t WHERE id < 4 ORDER BY id', 0],
  ['DECLARE d NO SCROLL CURSOR FOR SELECT id FROM t WHERE id IN (4, 5) ORDER BY id', 0],
  ['DECLARE d CURSOR FOR SELECT id FROM t WHERE id < $1 AND pg_backend_pid() > 0', 1],
  ['DECLARE d SCROLL CURSOR FOR SELECT id FROM t WHERE id < $1 ORDER BY id', 1],
  ['FETCH c', 0],
  ['FETCH 2 FROM c', 0],
  ['FETCH ALL FROM c', 0],
  ['FETCH PRIOR FROM c', 0],
  ['FETCH ABSOLUTE 2 FROM c', 0],
  ['FETCH ABSOLUTE -1 FROM d', 0],
  ['MOVE BACKWARD ALL FROM c', 0],
  ['MOVE 1 FROM d', 0],
  ['FETCH 0 FROM d', 0],
  ['CLOSE c', 0],
  ['CLOSE ALL', 0],
  ['PREPARE q AS SELECT id, body FROM t WHERE id = $1', 0],
  ['EXECUTE q(3)', 0],
  ['EXECUTE q(1 + 1)', 0],
  ['DEALLOCATE q', 0],
  ['SELECT id, body FROM t WHERE id = $1', 1],
  ['SELECT id FROM t WHERE id < 4 ORDER BY id', 0],
  ['SELECT id FROM t WHERE id = $1 AND pg_backend_pid() > 0', 1],
  ["INSERT INTO w VALUES ($1, 'x')", 1],
  ['SELECT 1 / (pg_backend_pid() * 0)', 0],
  ['SELECT nope FROM t', 0],
  ["SET application_name = 'other'", 0],
  ['SET LOCAL extra_float_digits = -1', 0],
  ['SHOW application_name', 0],
  ['SHOW transaction_isolation', 0],
  ['SET TRANSACTION READ ONLY', 0],
  ['SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', 0],
  ['BEGIN; SELECT id FROM t WHERE id = 1; SAVEPOINT a', 0],
  ['DECLARE e CURSOR FOR SELECT id FROM t WHERE id = 9; FETCH e', 0],
  ['FETCH c; SELECT id FROM t WHERE id = 2; FETCH c', 0],
  ['ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a', 0],
  ['DISCARD ALL', 0],
];

const STATEMENTS = ['', '', 'a', 'b'];
const PORTALS = ['', '', '', 'p'];

/** `countMax` steps at most, of the given statements; those about blocks mostly one by one. */
export function randomConversation(seed: number, countMax: number, texts = TEXTS): RandomStep[] {
  const random = seeded(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const of = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const said = (words: string, bytes: Uint8Array): Said => ({ words, bytes });
  const parameters = new Map<string, number>();
  const frames = (): Said[] => {
    const name = of(STATEMENTS);
    const portal = of(PORTALS);
    switch (below(12)) {
      case 0:
      case 1: {
        // What a client usually does.
        const [sql, count] = of(texts);
        parameters.set(name, count);
        const values = Array.from({ length: count }, () => String(1 + below(9)));
        return [
          said(`parse ${name}: ${sql}`, parse(name, sql)),
          said(`bind ${portal} ${name} ${values.join()}`, bind(portal, name, values)),
          ...(below(2) === 0 ? [said(`describe portal ${portal}`, describePortal(portal))] : []),
          said(`execute ${portal}`, execute(portal)),
        ];
      }
      case 2:
      case 3: {
        const [sql, count] = of(texts);
        parameters.set(name, count);
        return [said(`parse ${name}: ${sql}`, parse(name, sql))];
      }
      case 4:
      case 5:
      case 6: {
        // Mostly as many as the statement wants.
        const count = below(10) === 0 ? below(3) : (parameters.get(name) ?? 0);
        const values = Array.from({ length: count }, () => String(1 + below(9)));
        return [said(`bind ${portal} ${name} ${values.join()}`, bind(portal, name, values))];
      }
      case 7:
      case 8: {
        const rowsMax = of([0, 0, 1, 2]);
        return [said(`execute ${portal} ${rowsMax}`, execute(portal, rowsMax))];
      }
      case 9:
        return [said(`describe portal ${portal}`, describePortal(portal))];
      case 10:
        return [said(`describe statement ${name}`, describeStatement(name))];
      default:
        return below(3) === 0
          ? [said('flush', flush())]
          : below(2) === 0
            ? [said(`close statement ${name}`, closeStatement(name))]
            : [said(`close portal ${portal}`, closePortal(portal))];
    }
  };
  return Array.from({ length: 1 + below(countMax) }, (): RandomStep => {
    if (below(5) === 0 || (texts === BLOCK_TEXTS && below(3) > 0)) {
      const [sql, count] = of(texts);
      const text = count === 0 ? sql : sql.replace('$1', String(1 + below(9)));
      return [said(`query ${text}`, query(text))];
    }
    const all: Said[] = [];
    for (let left = 1 + below(6); left > 0; left -= 1) all.push(...frames());
    return [...all, said('sync', sync())];
  });
}

/**
 * A portal that was run to its end here, and is run again when the core has taken over, is one that the core never had: the same
 * refusal in other words, known and left so.
 */
function alike(step: readonly Heard[] | undefined): string {
  return JSON.stringify(step).replaceAll(
    /ERROR 34000 portal (\S*) does not exist/g,
    'ERROR 55000 portal $1 cannot be run',
  );
}

/** What the two servers said differently, in words; null when nothing. `reset` is called before each. */
export async function difference(
  conversation: readonly RandomStep[],
  ports: { readonly core: number; readonly edge: number },
  reset: () => Promise<unknown>,
): Promise<string | null> {
  const steps = conversation.map((step) => step.map(({ bytes }) => bytes));
  const hear = async (port: number): Promise<Heard[][]> => {
    await reset();
    return await converse(port, steps, null).catch((error: unknown) => [[{ type: '!', body: String(error) }]]);
  };
  const there = await hear(ports.core);
  const here = await hear(ports.edge);
  const at = there.findIndex((step, index) => alike(step) !== alike(here[index]));
  if (at === -1) return null;
  const shown = (step: readonly Heard[] | undefined): string =>
    (step ?? []).map(({ type, body }) => `    ${type} ${JSON.stringify(body)}`).join('\n');
  const told = conversation.map((step) => `  ${step.map(({ words }) => words).join(' | ')}`).join('\n');
  return `${told}\nstep ${at + 1}, core:\n${shown(there[at])}\nedge:\n${shown(here[at])}`;
}

/** The smallest conversation found by leaving frames and steps out that still differs. */
export async function shrink(
  conversation: readonly RandomStep[],
  differs: (conversation: readonly RandomStep[]) => Promise<boolean>,
): Promise<readonly RandomStep[]> {
  let best = conversation;
  for (let again = true; again; ) {
    again = false;
    const smaller = best.flatMap((step, index) => [
      best.toSpliced(index, 1),
      ...(step.length <= 1 ? [] : step.slice(0, -1).map((_, at) => best.with(index, step.toSpliced(at, 1)))),
    ]);
    for (const candidate of smaller) {
      if (candidate.length === 0 || !(await differs(candidate))) continue;
      best = candidate;
      again = true;
      break;
    }
  }
  return best;
}
