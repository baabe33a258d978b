// `skerry status`: how each role of a running world is.

import { bunHttp } from '../../runtime/http.ts';
import { createClock } from '../../runtime/clock.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { askStatus, readWorld } from '../../roles/status.ts';
import { EXIT, makeCommand } from '../command.ts';
import { tableLines } from '../live-table.ts';

export const statusCommand = makeCommand({
  name: 'status',
  summary: 'Show position, lag and rows of each role of a running `skerry up`.',
  groups: ['up'],
  only: ['dir'],
  async action({ config, json }) {
    const world = readWorld(absolutePath(config.up.dir));
    const statuses = await askStatus(world, bunHttp, createClock());
    const serving = statuses.every(({ status }) => status !== null && status.state === 'streaming');
    if (json) {
      const roles = statuses.map(({ place, status, reason }) => ({ ...place, status, reason }));
      terminal.write(`${JSON.stringify({ ok: serving, core: world.core, roles })}\n`);
    } else {
      const rows = statuses.map(({ place, status, reason }) => ({
        name: place.name,
        url: place.pg,
        status,
        reason,
        answersPerSecond: null,
        restarts: 0,
      }));
      terminal.write(`${tableLines({ corePosition: null, rows }, terminal.columns()).join('\n')}\n`);
    }
    return serving ? EXIT.ok : EXIT.no;
  },
});
