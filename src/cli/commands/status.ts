// `skerry status`: how each role of a running world is.

import { bunHttp } from '../../runtime/http.ts';
import { createClock } from '../../runtime/clock.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { CoreClient, sessionWorld } from '../../roles/core-client.ts';
import { askProxy, askStatus, readWorld, readWorldSecrets } from '../../roles/status.ts';
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
    const [statuses, proxy, corePosition] = await Promise.all([
      askStatus(world, bunHttp, clock),
      askProxy(world, bunHttp),
      core.position(),
    ]);
    const serving =
      corePosition !== null &&
      proxy.status !== null &&
      statuses.every(({ status }) => status !== null && status.state === 'streaming');
    if (json) {
      const roles = statuses.map(({ place, status, reason }) => ({ ...place, status, reason }));
      const { place, status, reason } = proxy;
      terminal.write(
        `${JSON.stringify({ ok: serving, core: { ...world.core, position: corePosition }, proxy: { ...place, status, reason }, roles })}\n`,
      );
    } else {
      const rows = statuses.map(({ place, status, reason }) => ({
        name: place.name,
        url: place.pg,
        status,
        reason,
        answersPerSecond: null,
        restarts: 0,
      }));
      const shown = { url: proxy.place.pg, status: proxy.status, reason: proxy.reason, restarts: 0 };
      terminal.write(`${tableLines({ corePosition, proxy: shown, rows }, terminal.columns()).join('\n')}\n`);
    }
    return serving ? EXIT.ok : EXIT.no;
  },
});
