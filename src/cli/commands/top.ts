// `skerry top`: what the proxy (and the relay and edges of a running world) is doing, from its metrics, again and again.
//
// Output: a terminal gets a table that is drawn over; a pipe one line a look; `--json` one object a look. `--once` looks once (and
// a second time after the interval, since rates need two).

import { Option } from 'commander';
import { describeError, Fault } from '../../base/fault.ts';
import { sleepQuietly } from '../../base/service.ts';
import { parseMetrics, type Scrape } from '../../observe/scrape.ts';
import { readWorld, worldTls } from '../../roles/status.ts';
import { bunHttp } from '../../runtime/http.ts';
import { createClock } from '../../runtime/clock.ts';
import { absolutePath, stopSignals, terminal } from '../../runtime/process.ts';
import { EXIT, makeCommand } from '../command.ts';
import { Screen } from '../screen.ts';
import { topLines, topSentence, type TopView, topView } from '../top-view.ts';

const TIMEOUT_MS = 5_000;
const INTERVAL_MS = 1_000;

/** Whose metrics are looked at. */
interface Source {
  readonly name: string;
  readonly http: string;
  readonly tls: { readonly ca?: string };
}

interface Look {
  readonly scrape: Scrape;
  readonly atMs: number;
}

export const topCommand = makeCommand({
  name: 'top',
  summary: 'Show queries per second, latencies and waiting clients of a proxy, again and again.',
  groups: ['up', 'proxy'],
  only: ['dir', 'httpPort'],
  own: [
    new Option('--url <url>', 'Metrics of this role instead, e.g. http://127.0.0.1:6434.'),
    new Option('--all', 'The relay and the edges of a running `skerry up` as well.'),
    new Option('--once', 'Look once.'),
    new Option('--interval <seconds>', 'Seconds between two looks.').default('1'),
  ],
  async action({ config, json, own }) {
    const intervalMs = Number(own['interval']) * INTERVAL_MS;
    if (!(intervalMs >= 100)) {
      throw new Fault('config-invalid', { message: '--interval is not a number of seconds, 0.1 or more' });
    }
    const sources = sourcesOf(own, absolutePath(config.up.dir), config.proxy.httpPort);
    const clock = createClock();
    const { stop } = stopSignals();
    const screen = new Screen();
    const look = (): Promise<(Look | null)[]> =>
      Promise.all(
        sources.map(async (source) => {
          const scrape = await read(source).catch((error: unknown) => {
            // One that is away now may come back; when nobody answers there is nothing to show.
            if (sources.length === 1) throw error;
            return null;
          });
          return scrape === null ? null : { scrape, atMs: clock.now() };
        }),
      );
    let before = await look();
    do {
      await sleepQuietly(clock, intervalMs, stop);
      if (stop.aborted) break;
      const now = await look();
      const views = sources.flatMap(({ name }, index): TopView[] => {
        const [first, last] = [before[index], now[index]];
        if (first === null || first === undefined || last === null || last === undefined) return [];
        const seconds = (last.atMs - first.atMs) / 1000;
        return [topView(name, { before: first.scrape, now: last.scrape, seconds })];
      });
      before = now;
      if (json) terminal.write(`${JSON.stringify({ at: new Date(clock.wall()).toISOString(), roles: views })}\n`);
      else if (terminal.isTty && own['once'] !== true) {
        screen.draw(topLines(views, terminal.columns(), terminal.rows() - 1));
      } else if (own['once'] === true) {
        const columns = terminal.isTty ? terminal.columns() : Number.MAX_SAFE_INTEGER;
        terminal.write(`${topLines(views, columns, Number.MAX_SAFE_INTEGER).join('\n')}\n`);
      } else terminal.write(`${views.map(topSentence).join('\n')}\n`);
    } while (own['once'] !== true && !stop.aborted);
    return EXIT.ok;
  },
});

/** A URL that is given, the world that runs in the folder, or a proxy on this machine. */
function sourcesOf(own: Readonly<Record<string, unknown>>, dir: string, httpPort: number): Source[] {
  const url = own['url'];
  if (typeof url === 'string') {
    return [{ name: url, http: url.replace(/\/(?:metrics)?$/, ''), tls: {} }];
  }
  const alone: Source = { name: 'proxy', http: `http://127.0.0.1:${httpPort}`, tls: {} };
  if (own['httpPort'] !== undefined) return [alone];
  try {
    const world = readWorld(dir);
    const tls = worldTls(world);
    const places = own['all'] === true ? [world.proxy, world.relay, ...world.edges] : [world.proxy];
    return places.map(({ name, http }) => ({ name, http, tls }));
  } catch (error) {
    if (own['all'] === true) throw error;
    return [alone];
  }
}

async function read({ name, http, tls }: Source): Promise<Scrape> {
  try {
    const response = await bunHttp.request(`${http}/metrics`, { timeoutMs: TIMEOUT_MS, tls });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return parseMetrics(await response.text());
  } catch (error) {
    throw new Fault('not-running', {
      message: `no metrics of ${name} at ${http}: ${describeError(error)}`,
      hint: 'name its HTTP port with --http-port or --url, or the folder of `skerry up` with --dir',
      cause: error,
    });
  }
}
