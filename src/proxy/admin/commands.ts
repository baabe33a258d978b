// Commands of the admin console, in PgBouncer's words.

import { Fault } from '../../base/fault.ts';
import { NEVER_ABORTED, sleepQuietly } from '../../base/service.ts';
import { tokenize } from '../scan.ts';
import type { DatabaseState, Proxy } from '../proxy.ts';
import type { Pool } from '../pool.ts';
import { SETTABLE, setOption, tenantSettingOf } from './settings.ts';
import type { AdminAnswer, AdminCommands } from './session.ts';
import { showTable, TABLES } from './tables.ts';

export interface CommandContext {
  readonly proxy: Proxy;
  readonly actions: AdminCommands;
  readonly mayChange: boolean;
}

/** PAUSE and WAIT_CLOSE look this often whether they are done. */
const LOOK_MS = 20;

/** Throws a Fault with the SQLSTATE to answer. With several workers all of them do it. */
export async function runCommand(text: string, context: CommandContext): Promise<AdminAnswer> {
  const [verb = '', first = ''] = tokenize(text).map((token) => token.text);
  const command = verb.toUpperCase();
  // Drivers greet with these.
  if (command === 'SET' && GREETINGS.test(first)) return { tag: 'SET' };
  if (command !== 'SHOW' && !context.mayChange) {
    throw new Fault('admin-only', { message: 'only admin_users may do this', sqlstate: '42501' });
  }
  const { siblings } = context.proxy;
  return siblings === null ? await runHere(text, context) : await siblings.command(text);
}

const GREETINGS = /^(?:client_encoding|application_name|datestyle|extra_float_digits|statement_timeout|names)$/;

/** In this process only. */
export async function runHere(
  text: string,
  { proxy, actions }: Pick<CommandContext, 'proxy' | 'actions'>,
): Promise<AdminAnswer> {
  const tokens = tokenize(text);
  const [verb = '', ...rest] = tokens.map((token) => token.text);
  const command = verb.toUpperCase();
  if (command === 'SHOW') return showTable(rest[0] ?? '', proxy);
  return await change(text, command, rest, tokens.at(-1)?.text ?? '', { proxy, actions });
}

async function change(
  text: string,
  command: string,
  rest: readonly string[],
  last: string,
  { proxy, actions }: Pick<CommandContext, 'proxy' | 'actions'>,
): Promise<AdminAnswer> {
  const name = rest[0];
  switch (command) {
    case 'PAUSE':
      if (name === undefined) proxy.pausedAll = true;
      await pause(proxy, databasesOf(proxy, name));
      break;
    case 'RESUME':
      if (name === undefined) proxy.pausedAll = false;
      for (const database of databasesOf(proxy, name)) setPaused(proxy, database, false);
      break;
    case 'DISABLE':
      oneDatabase(proxy, name).disabled = true;
      break;
    case 'ENABLE':
      oneDatabase(proxy, name).disabled = false;
      break;
    case 'RECONNECT':
      for (const pool of poolsOf(proxy, databasesOf(proxy, name))) pool.renew('RECONNECT');
      break;
    case 'KILL':
      if (name === undefined) proxy.pausedAll = true;
      for (const database of databasesOf(proxy, name)) {
        setPaused(proxy, database, true);
        for (const client of proxy.clients) {
          if (client.database === database.config.name) client.fail(killed());
        }
        for (const pool of poolsOf(proxy, [database])) pool.closeAll('KILL');
      }
      break;
    case 'KILL_CLIENT':
      killClient(proxy, name);
      break;
    case 'WAIT_CLOSE':
      await waitClose(proxy, databasesOf(proxy, name));
      break;
    case 'RELOAD':
      await actions.reload();
      break;
    case 'SET':
      if (/^tenant$/i.test(name ?? '')) setTenant(proxy, text);
      else setOption(proxy, name ?? '', rest.length > 1 ? last : '');
      break;
    case 'RESTART':
      throw new Fault('restart-alone', {
        message: 'there is no parent process that could start another worker',
        hint: 'run `skerry proxy`',
        sqlstate: '0A000',
      });
    case 'SHUTDOWN':
      if (/^wait_for_(?:clients|servers)$/i.test(name ?? '')) {
        proxy.drain();
        if (proxy.clients.size === 0) actions.stop();
      } else actions.stop();
      break;
    default:
      throw unknownCommand(command);
  }
  return { tag: command };
}

function setTenant(proxy: Proxy, text: string): void {
  const setting = tenantSettingOf(text);
  if (setting === null) {
    throw new Fault('option-invalid', {
      message: 'this is not how a setting of a tenant is changed',
      hint: 'SET tenant.NAME.(max_connections | pool_size | qps | max_waiting | weight | algorithm) = VALUE | DEFAULT',
      sqlstate: '42601',
    });
  }
  proxy.tenants.set(setting.tenant, setting.key, setting.value);
}

function databasesOf(proxy: Proxy, name: string | undefined): DatabaseState[] {
  return name === undefined ? [...proxy.databases.values()] : [oneDatabase(proxy, name)];
}

function oneDatabase(proxy: Proxy, name: string | undefined): DatabaseState {
  const database = proxy.databases.get(name ?? '');
  if (database === undefined) {
    throw new Fault('database-unknown', { message: `no such database: ${name ?? ''}`, sqlstate: '3D000' });
  }
  return database;
}

function poolsOf(proxy: Proxy, databases: readonly DatabaseState[]): Pool[] {
  const names = new Set(databases.map((database) => database.config.name));
  return [...proxy.pools.values()].filter((pool) => names.has(pool.database));
}

function setPaused(proxy: Proxy, database: DatabaseState, paused: boolean): void {
  database.paused = paused;
  for (const pool of poolsOf(proxy, [database])) {
    if (paused) proxy.pausePool(pool);
    else proxy.resumePool(pool);
  }
}

/** Transactions end, new ones wait; done when no server connection is left. */
async function pause(proxy: Proxy, databases: readonly DatabaseState[]): Promise<void> {
  for (const database of databases) setPaused(proxy, database, true);
  while (poolsOf(proxy, databases).some((pool) => pool.servers.size > 0)) {
    // RESUME on another console ends the waiting.
    if (databases.every((database) => !database.paused)) return;
    await sleepQuietly(proxy.world.clock, LOOK_MS, NEVER_ABORTED);
  }
}

/** After RECONNECT: done when no connection of before is left. */
async function waitClose(proxy: Proxy, databases: readonly DatabaseState[]): Promise<void> {
  const old = (): boolean =>
    poolsOf(proxy, databases).some((pool) => [...pool.servers].some((server) => server.generation !== pool.generation));
  while (old()) await sleepQuietly(proxy.world.clock, LOOK_MS, NEVER_ABORTED);
}

function killClient(proxy: Proxy, id: string | undefined): void {
  const client = [...proxy.clients].find((one) => String(one.id) === id);
  if (client === undefined) {
    throw new Fault('client-unknown', {
      message: `no such client: ${id ?? ''}`,
      hint: 'SHOW CLIENTS tells the ids',
      sqlstate: '22023',
    });
  }
  client.fail(killed());
}

function killed(): Fault {
  return new Fault('killed', { message: 'terminating connection due to administrator command', sqlstate: '57P01' });
}

function unknownCommand(command: string): Fault {
  return new Fault('command-unknown', {
    message: `unknown command "${command}"`,
    hint: `SHOW (${TABLES.join(', ')}), PAUSE, RESUME, DISABLE, ENABLE, RECONNECT, KILL, KILL_CLIENT, WAIT_CLOSE, RELOAD, RESTART, SET (${SETTABLE.join(', ')}, tenant.NAME.SETTING), SHUTDOWN`,
    sqlstate: '42601',
  });
}
