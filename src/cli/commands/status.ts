// `skerry status`: how each role of a running world is.

import { bunHttp } from '../../runtime/http.ts';
import { createClock } from '../../runtime/clock.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { CoreClient, sessionWorld } from '../../roles/core-client.ts';
import { askStatus, readWorld, readWorldSecrets } from '../../roles/status.ts';
import { EXIT, makeCommand } from '../command.ts';
import { tableLines } from '../live-table.ts';

export const statusCommand = makeCommand({
  name: 'status',
  summary: 'Show position, lag and rows of each role of a running `skerry up`.',
  groups: ['up'],
  only: ['dir'],
  async action({ config, json }) {
    const dir = absolutePath(config.up.dir);
    const world = readWorld(dir);
    const clock = createClock();
    await using core = new CoreClient(sessionWorld(clock), readWorldSecrets(dir).coreUrl);
    const [statuses, corePosition] = await Promise.all([askStatus(world, bunHttp, clock), core.position()]);
    const serving =
      corePosition !== null && statuses.every(({ status }) => status !== null && status.state === 'streaming');
    if (json) {
      const roles = statuses.map(({ place, status, reason }) => ({ ...place, status, reason }));
      terminal.write(`${JSON.stringify({ ok: serving, core: { ...world.core, position: corePosition }, roles })}\n`);
    } else {
      const rows = statuses.map(({ place, status, reason }) => ({
        name: place.name,
        url: place.pg,
        status,
        reason,
        answersPerSecond: null,
        restarts: 0,
      }));
      terminal.write(`${tableLines({ corePosition, rows }, terminal.columns()).join('\n')}\n`);
    }
    return serving ? EXIT.ok : EXIT.no;
  },
});
