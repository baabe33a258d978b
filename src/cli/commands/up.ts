// `skerry up`: starts a world and shows it.
//
// Output: `--json` prints one line when all of it serves, then one line per event. A terminal gets a table that is drawn again
// every second, with events above it; a pipe gets plain lines.

import process from 'node:process';
import { Option } from 'commander';
import { describeError, Fault } from '../../base/fault.ts';
import { sleepQuietly } from '../../base/service.ts';
import type { Config } from '../../config/options.ts';
import { SILENT_LOG } from '../../observe/log.ts';
import { answersPerSecond, askProxy, askStatus, type PlaceStatus } from '../../roles/status.ts';
import { cleanCore, Up, type UpEvent, type UpOptions } from '../../roles/up.ts';
import { commandsToTry } from '../../roles/world.ts';
import { createClock } from '../../runtime/clock.ts';
import { bunHttp } from '../../runtime/http.ts';
import { absolutePath, besideProject, selfCommand, stopSignals, terminal } from '../../runtime/process.ts';
import { createRandom } from '../../runtime/random.ts';
import { EXIT, makeCommand } from '../command.ts';
import { tableLines, tableSentence, type TableView } from '../live-table.ts';
import { Screen } from '../screen.ts';

const TABLE_EVERY_MS = 1_000;
const LINE_EVERY_MS = 5_000;

export const upCommand = makeCommand({
  name: 'up',
  summary: 'Run a core Postgres (or attach to yours), a proxy, a relay and edges on this machine.',
  groups: ['up', 'core', 'log'],
  own: [
    new Option(
      '--proxy-workers <number>',
      'Processes of the proxy in front of the core; 0 is one for each core of this machine.',
    ),
    new Option('--clean', 'Remove publication, slot and event triggers from the database of --database-url, and end.'),
  ],
  async action({ config, json, own }) {
    if (own['clean'] === true) {
      const done = await cleanCore(config, createClock(), SILENT_LOG);
      terminal.write(json ? `${JSON.stringify({ cleaned: true, done })}\n` : `${done.join('\n')}\n`);
      return EXIT.ok;
    }
    const signals = stopSignals();
    const clock = createClock();
    const screen = new Screen();
    let ready = false;
    const event = (one: UpEvent): void => {
      if (json && ready) terminal.write(`${JSON.stringify(one)}\n`);
      else if (!json) screen.line(eventSentence(one));
    };
    const options: UpOptions = {
      config: withProxyWorkers(config, own['proxyWorkers']),
      dir: absolutePath(config.up.dir),
      dataDir: besideProject(config.up.dataDir),
      pid: process.pid,
      self: selfCommand(new URL('../main.ts', import.meta.url)),
      clock,
      random: createRandom(),
      event,
    };
    let up: Up;
    try {
      up = await Up.start(options, signals);
    } catch (error) {
      if (signals.stop.aborted) return EXIT.ok;
      throw error;
    }
    ready = true;
    const { world } = up;
    if (json) {
      terminal.write(`${JSON.stringify({ ready: true, ...world, pids: up.supervisor.pids() })}\n`);
    } else {
      screen.line('ready; try:');
      for (const command of commandsToTry(world)) screen.line(`  ${command}`);
      screen.line('Ctrl-C stops it.');
    }
    const sample = up
      .changeSample(options, signals.stop)
      .catch((error: unknown) => event({ event: 'note', message: `the sample ended: ${describeError(error)}` }));
    let before: PlaceStatus[] = [];
    while (!signals.stop.aborted) {
      if (!json) {
        const [now, proxy] = await Promise.all([askStatus(world, bunHttp, clock), askProxy(world, bunHttp)]);
        const view: TableView = {
          corePosition: await up.core.position(),
          proxy: {
            url: proxy.place.pg,
            status: proxy.status,
            reason: proxy.reason,
            restarts: up.supervisor.restartsOf(proxy.place.name),
          },
          rows: now.map((one, index) => ({
            name: one.place.name,
            url: one.place.pg,
            status: one.status,
            reason: one.reason,
            answersPerSecond: answersPerSecond(before[index], one),
            restarts: up.supervisor.restartsOf(one.place.name),
          })),
        };
        before = now;
        if (terminal.isTty) screen.draw(tableLines(view, terminal.columns()));
        else screen.line(tableSentence(view));
      }
      await sleepQuietly(clock, terminal.isTty ? TABLE_EVERY_MS : LINE_EVERY_MS, signals.stop);
    }
    screen.draw([]);
    if (!json) screen.line(`${String(signals.stop.reason)}, stopping`);
    await sample;
    await up.stop();
    if (!json) screen.line('stopped');
    return EXIT.ok;
  },
});

/** `proxy.workers` has this name only here, where there are other things to have several of. */
function withProxyWorkers(config: Config, given: unknown): Config {
  if (typeof given !== 'string') return config;
  const workers = Number(given);
  if (!/^\d{1,2}$/.test(given) || workers > WORKERS_MAX) {
    throw new Fault('config-invalid', {
      message: `--proxy-workers ${given} is not a number from 0 to ${WORKERS_MAX}`,
      hint: 'one for each core that the proxy may use',
    });
  }
  return { ...config, proxy: { ...config.proxy, workers } };
}

/** As of `proxy.workers`. */
const WORKERS_MAX = 31;

function eventSentence(event: UpEvent): string {
  switch (event.event) {
    case 'ready':
      return `${event.name} serves (pid ${event.pid})${event.restarts === 0 ? '' : `, restart ${event.restarts}`}`;
    case 'exited':
      return `${event.name} ${event.reason}; starting it again in ${Math.round(event.restartInMs)} ms`;
    case 'hung':
      return `${event.name} (pid ${event.pid}) has not answered for ${Math.round(event.silentMs / 1000)} s: killing it`;
    case 'stopped':
      return `${event.name} stopped`;
    case 'note':
      return event.message;
  }
}
