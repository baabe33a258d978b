// What an edge's server can say is wrong, beside what Postgres itself says through it.
//
//   forwarding-refused   42501  a statement had to be forwarded and the placement of this PoP forbids it
//   core-away            57P03  a statement had to be forwarded and the core is not reachable
//   core-refused         08004  the core answered the edge's connection with an error (wrong password, no such database …)
//   core-lost            08006  the connection to the core broke while a statement ran there: its fate is unknown
//   too-many-connections 53300  client or upstream connections are used up
//   too-many-statements  54000  one session holds more prepared statements than allowed
//   replica-not-ready    57P03  the first snapshot has not arrived yet
//   wrong-database       3D000  an edge serves one database

import { Fault } from '../base/fault.ts';
import type { ErrorFields } from '../wire/backend.ts';

/** An error as ErrorResponse carries it. */
export function errorFields(
  sqlstate: string,
  message: string,
  more: {
    readonly detail?: string;
    readonly hint?: string;
    readonly position?: number;
    readonly severity?: string;
  } = {},
): ErrorFields {
  return { severity: more.severity ?? 'ERROR', sqlstate, message, ...withoutSeverity(more) };
}

function withoutSeverity(more: {
  readonly detail?: string;
  readonly hint?: string;
  readonly position?: number;
}): Partial<ErrorFields> {
  return {
    ...(more.detail === undefined ? {} : { detail: more.detail }),
    ...(more.hint === undefined ? {} : { hint: more.hint }),
    ...(more.position === undefined ? {} : { position: more.position }),
  };
}

/** Faults of opening a connection that mean that nobody is there, or not yet; others are the core's own words. */
const AWAY: ReadonlySet<string> = new Set([
  'core-away',
  'connect-failed',
  'connect-timeout',
  'connection-lost',
  'server-unready',
  'server-stopping',
]);

export function isCoreAway(error: unknown): boolean {
  return error instanceof Fault && AWAY.has(error.code);
}

/** The placement of this PoP says that nothing is asked of the core for its clients. */
export function forwardingRefused(placement: string): Fault {
  return new Fault('forwarding-refused', {
    message: `this statement cannot be answered here, and placement "${placement}" does not let it be forwarded`,
    sqlstate: '42501',
    hint: 'Ask for what this PoP holds (for a table with a condition: repeat the condition in WHERE), or connect to the core.',
  });
}

export function coreAwayFault(cause: unknown): Fault {
  return new Fault('core-away', {
    message: 'the core database is not reachable from this edge',
    sqlstate: '57P03',
    hint: 'Reads that can be answered from the replica go on; SHOW skerry.lag tells how old they are. Try again when the core is back.',
    retryable: true,
    cause,
  });
}
