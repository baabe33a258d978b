// Asks the roles of a running world how they are: for `skerry status`, for the live table of `skerry up`.

import type { Clock } from '../base/clock.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { Http } from '../base/http.ts';
import type { RoleStatus } from '../contracts/health.ts';
import { loadConfig } from '../config/load.ts';
import { GROUPS } from '../config/options.ts';
import { readTextFile } from '../runtime/files.ts';
import { readSecretFile } from './secrets.ts';
import type { ProxyStatus } from './proxy.ts';
import type { Place, ProxyPlace, World } from './world.ts';

// A role answers from memory; one that needs longer has a problem that its row should show.
const STATUS_TIMEOUT_MS = 2_000;

export interface PlaceStatus {
  readonly place: Place;
  /** Null when it does not answer; `reason` says why. */
  readonly status: RoleStatus | null;
  readonly reason: string;
  /** `clock.now()` when it answered. */
  readonly atMs: number;
}

/** The status of the relay, then of each edge; all asked at once. */
export async function askStatus(world: World, http: Http, clock: Clock): Promise<PlaceStatus[]> {
  const tls = worldTls(world);
  return Promise.all(
    [world.relay, ...world.edges].map(async (place): Promise<PlaceStatus> => {
      try {
        const response = await http.request(`${place.http}/status`, { timeoutMs: STATUS_TIMEOUT_MS, tls });
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
        return { place, status: (await response.json()) as RoleStatus, reason: '', atMs: clock.now() };
      } catch (error) {
        return { place, status: null, reason: describeError(error), atMs: clock.now() };
      }
    }),
  );
}

/** The proxy's; null when it does not answer. */
export interface ProxyPlaceStatus {
  readonly place: ProxyPlace;
  readonly status: ProxyStatus | null;
  readonly reason: string;
}

export async function askProxy(world: World, http: Http): Promise<ProxyPlaceStatus> {
  const place = world.proxy;
  try {
    const response = await http.request(`${place.http}/status`, { timeoutMs: STATUS_TIMEOUT_MS });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return { place, status: (await response.json()) as ProxyStatus, reason: '' };
  } catch (error) {
    return { place, status: null, reason: describeError(error) };
  }
}

/** Whether a role answers at all; what it says does not matter. */
export async function answersHttp(
  http: Http,
  place: Place,
  tls: { readonly ca?: string },
  timeoutMs: number,
): Promise<boolean> {
  try {
    await http.request(`${place.http}/status`, { timeoutMs, tls });
    return true;
  } catch {
    return false;
  }
}

/** Whom to trust when asking the roles of this world over https. */
export function worldTls(world: World): { readonly ca?: string } {
  const ca = world.tls === null ? null : readTextFile(world.tls.ca);
  return ca === null ? {} : { ca };
}

/** Statements answered per second between two looks; null when there is no earlier one, or the role was restarted between. */
export function answersPerSecond(before: PlaceStatus | undefined, now: PlaceStatus): number | null {
  if (before?.status === null || before === undefined || now.status === null || before.status.pid !== now.status.pid)
    return null;
  const seconds = (now.atMs - before.atMs) / 1000;
  const count = (status: RoleStatus): number => status.answered.local + status.answered.forwarded;
  return seconds <= 0 ? null : (count(now.status) - count(before.status)) / seconds;
}

/** The world that `skerry up` described in its folder. Throws Fault `not-running`. */
export function readWorld(dir: string): World {
  const text = readTextFile(`${dir}/up.json`);
  if (text === null) {
    throw new Fault('not-running', {
      message: `no skerry is running in ${dir}`,
      hint: 'start one with `skerry up`, or name its folder with --dir',
    });
  }
  return JSON.parse(text) as World;
}

export interface WorldSecrets {
  /** postgres:// URL of the core with its password. */
  readonly coreUrl: string;
  readonly publication: string;
  /** Basic credentials for the relay: the administrator's, or those of a peer. */
  readonly peerHeaders: Readonly<Record<string, string>>;
}

/** What `skerry up` keeps for its roles in the folder, in files that only its owner may read. */
export function readWorldSecrets(dir: string): WorldSecrets {
  const file = `${dir}/relay.yaml`;
  const text = readTextFile(file);
  if (text === null)
    throw new Fault('not-running', { message: `no skerry is running in ${dir}`, hint: 'start one with `skerry up`' });
  const { core, relay } = loadConfig(GROUPS, { file: { name: file, text }, env: {}, flags: {} });
  // Who administrates may look at every placement.
  const isAdmin = relay.adminPasswordFile !== '';
  const user = isAdmin ? relay.adminUser : relay.peerUser;
  const password = readSecretFile(isAdmin ? relay.adminPasswordFile : relay.peerPasswordFile);
  return {
    coreUrl: core.databaseUrl,
    publication: core.publication,
    peerHeaders: { authorization: `Basic ${btoa(`${user}:${password}`)}` },
  };
}
