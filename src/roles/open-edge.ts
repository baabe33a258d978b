// `import { openEdge } from 'skerry/edge'`: rows of a PoP in a program of one's own, without a socket.
//
//   using edge = await openEdge({ dir: '.skerry/edge-0' });
//   edge.get('public.zones', 17);
//   edge.query('SELECT name FROM zones WHERE account = $1 ORDER BY id LIMIT 10', [42]);

import { Fault } from '../base/fault.ts';
import type { CoreFacts } from '../edge/core-facts.ts';
import { EdgeReader } from '../edge/library.ts';
import { loadParser } from '../edge/sql/parse.ts';
import { createLog } from '../observe/log.ts';
import { createClock } from '../runtime/clock.ts';
import { fileIdentity, readTextFile } from '../runtime/files.ts';
import { terminal } from '../runtime/process.ts';

export type { EdgeParameter, EdgeReader, EdgeRow, EdgeValue } from '../edge/library.ts';

export interface OpenEdgeOptions {
  /** Folder of a running `skerry edge` (`edge.dir`). Whoever may read its files may read all its rows. */
  readonly dir: string;
}

/** Opens the replica of an edge on this machine to read. Rejects with Fault `replica-missing` when there is none. */
export async function openEdge({ dir }: OpenEdgeOptions): Promise<EdgeReader> {
  const path = `${dir}/replica.sqlite`;
  if (fileIdentity(path) === 0) {
    throw new Fault('replica-missing', {
      message: `there is no replica in ${dir}`,
      hint: 'start `skerry edge` with this folder and wait for its first snapshot',
    });
  }
  await loadParser();
  const clock = createClock();
  const facts = readTextFile(`${dir}/core-facts.json`);
  const log = createLog({
    level: 'warn',
    format: 'text',
    wall: () => clock.wall(),
    sink: (line) => terminal.writeError(`${line}\n`),
  });
  return new EdgeReader({
    clock,
    log,
    path,
    fileIdentity: () => fileIdentity(path),
    facts: facts === null ? null : (JSON.parse(facts) as CoreFacts),
  });
}
