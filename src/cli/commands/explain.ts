// `skerry explain "SELECT …"`: where an edge of a running world would answer a statement, and why there.

import { Option } from 'commander';
import { Fault } from '../../base/fault.ts';
import type { Explanation } from '../../edge/sql/explain.ts';
import { readWorld, worldTls } from '../../roles/status.ts';
import { bunHttp } from '../../runtime/http.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { EXIT, makeCommand } from '../command.ts';

const TIMEOUT_MS = 10_000;

export const explainCommand = makeCommand({
  name: 'explain',
  summary:
    'Say where an edge would answer a statement, and why (exit 0 at the edge, 1 at the core, 2 could not be asked).',
  groups: ['up'],
  only: ['dir'],
  argument: { name: '<sql>', help: 'The statement.' },
  own: [
    new Option('--edge <name>', 'Ask this edge (default: the first).'),
    new Option('--search-path <schemas>', 'Names are found in these schemas, comma-separated (default: public).'),
  ],
  async action({ config, json, own }) {
    const world = readWorld(absolutePath(config.up.dir));
    const wanted = own['edge'];
    const place = world.edges.find(({ name }) => wanted === undefined || name === wanted);
    if (place === undefined) {
      throw new Fault('config-value', {
        message: `there is no edge ${textOf(wanted, '')} here`,
        hint: `edges of this world: ${world.edges.map(({ name }) => name).join(', ')}`,
      });
    }
    const query = new URLSearchParams({
      sql: textOf(own['argument'], ''),
      search_path: textOf(own['searchPath'], 'public'),
    });
    const response = await bunHttp.request(`${place.http}/explain?${query.toString()}`, {
      timeoutMs: TIMEOUT_MS,
      tls: worldTls(world),
    });
    if (!response.ok) {
      throw new Fault('edge-refuses', {
        message: `${place.name} answers HTTP ${response.status}: ${await response.text()}`,
      });
    }
    const explanation = (await response.json()) as Explanation;
    terminal.write(json ? `${JSON.stringify(explanation)}\n` : `${sentencesOf(explanation, place.name).join('\n')}\n`);
    return explanation.answered === 'core' ? EXIT.no : EXIT.ok;
  },
});

function textOf(given: unknown, otherwise: string): string {
  return typeof given === 'string' ? given : otherwise;
}

/** For people. */
function sentencesOf({ answered, reason, detail, lane, sql, steps }: Explanation, edge: string): string[] {
  if (answered === 'core') return [`core: ${reason} (${detail})`];
  if (answered === 'session' || lane === null) return [`${edge}: ${detail}`];
  const where = lane === 'fast' ? 'fast lane, on the event loop' : 'slow lane, in a child process';
  return [`${edge}: ${where}`, ...steps.map((step) => `  ${step}`), '', sql ?? ''];
}
