// Why statements go to the core, in words: for SHOW skerry.answered_by, for metrics, and for the client when the core is away.

import { Fault } from '../base/fault.ts';
import { errorFieldsOf } from '../session/faults.ts';
import type { ErrorFields } from '../wire/backend.ts';
import { coreAwayFault, errorFields, isCoreAway } from './faults.ts';
import { isOwnSetting } from './settings.ts';
import type { Planned, SessionStatement } from './sql/plan.ts';
import { UpstreamLost } from './upstream.ts';

/** Why a statement went to the core: the planner's own `ForwardPlan`, or one of REASONS. */
export interface Why {
  readonly reason: string;
  readonly detail: string;
  /** To be told to the client before the core's answer. */
  readonly notice?: string;
}

/** Found when a statement that could be answered here was about to run. */
const REASONS = {
  transaction: 'the transaction already runs at the core',
  segment: 'it belongs to a batch that already runs at the core',
  privilege: 'it is not known that the role of this edge may read all its tables',
  hidden: 'a relation that is not replicated may stand before one of its tables in search_path',
  'own-writes': 'this session wrote something that has not arrived here yet',
  'too-old': 'skerry.max_lag allows no answer as old as those of this edge are now',
  'temporary-tables': 'the session has temporary tables',
  role: 'the session acts as another role',
  listen: 'the session listens at the core',
  encoding: 'the session uses an encoding other than UTF8',
  unknown: 'the session is in a state that only the core knows',
  estimate: "postgres_fdw plans by the core's estimates",
  peculiar: 'a setting of the session changes what statements mean',
  setting: 'a setting of the session changes how the answer is printed',
  'parameter-value': 'Postgres has to judge one of the values',
  'binary-format': 'a column is wanted in a binary form that this edge does not speak',
  'not-utf8': 'its text is not UTF-8',
  'schema-changed': 'the schema has just changed',
  'path-changed': 'search_path has just changed',
  'may-fail': 'SQLite gave an error where Postgres has its own',
  'slow-lanes-busy': 'all slow lanes of this edge are taken',
  'no-snapshot': 'no snapshot can be kept for the transaction',
  'replica-not-ready': 'the replica of this edge is not complete yet',
  session: 'only the core can judge it',
  together: 'the statements of one text belong together',
  function: 'it calls a function by the function call protocol',
} as const;

export type Reason = keyof typeof REASONS;

const WHYS = Object.fromEntries(
  Object.entries(REASONS).map(([reason, detail]) => [reason, { reason, detail }]),
) as Readonly<Record<Reason, Why>>;

/** The same object each time. */
export function why(reason: Reason): Why {
  return WHYS[reason];
}

export function whyOf({ plan }: Planned): Why {
  if (plan.kind === 'forward') return plan;
  return why(plan.kind === 'session' ? 'session' : 'segment');
}

/** What Postgres would say to a text that does not parse, for when it cannot be asked. */
export function syntaxErrorOf({ plan }: Planned): ErrorFields | null {
  return plan.kind === 'forward' && plan.reason === 'syntax-error' ? errorFields('42601', plan.detail) : null;
}

/** What the client is told when forwarding failed. `known`: what to say instead when the core is away. */
export function forwardError(error: unknown, because: Why | null, known: ErrorFields | null): ErrorFields {
  if (error instanceof UpstreamLost) {
    return errorFields(
      error.said?.sqlstate ?? '08006',
      'the connection to the core broke while the statement ran there',
      {
        ...(error.said === null ? {} : { detail: `the core said: ${error.said.message}` }),
        hint: 'whether a write was done is unknown; look before doing it again',
      },
    );
  }
  if (!(error instanceof Fault)) return errorFieldsOf(error);
  if (error.code === 'forwarding-refused') {
    if (known !== null) return known;
    return { ...errorFieldsOf(error), ...(because === null ? {} : { detail: `${because.reason}: ${because.detail}` }) };
  }
  if (!isCoreAway(error)) return errorFieldsOf(error);
  if (known !== null) return known;
  const base = errorFieldsOf(coreAwayFault(error));
  const reason = because === null ? '' : `; the statement had to be forwarded: ${because.reason} (${because.detail})`;
  return { ...base, detail: `${error.message}${reason}` };
}

/** Whether running it may change what local answers depend on. */
export function isChanging({ plan }: Planned): boolean {
  if (plan.kind === 'forward') return plan.write;
  return plan.kind === 'session' && isChangingSession(plan.statement);
}

export function isChangingSession({ type }: SessionStatement): boolean {
  switch (type) {
    case 'show':
    case 'fetch':
    case 'savepoint':
    case 'release':
    case 'rollback-to':
    // What a block holds counts when it runs, and again not when it is undone.
    case 'begin':
    case 'commit':
    case 'rollback':
      return false;
    default:
      return true;
  }
}

/** Session statements that this edge may do itself; the others always go to the core. */
export function isOwnStatement(statement: SessionStatement): boolean {
  switch (statement.type) {
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'release':
    case 'rollback-to':
    case 'set-transaction':
    case 'set-session-characteristics':
    case 'set':
    case 'reset':
    case 'show':
    case 'execute':
    case 'deallocate':
    case 'fetch':
    case 'close':
    case 'discard':
      return true;
    case 'prepare':
    case 'declare':
      return statement.planned.plan.kind === 'local';
    default:
      return false;
  }
}

/** What is about this edge is answered here whatever the transaction: SHOW, SET and RESET of skerry.…, SELECT skerry.token(). */
export function isAlwaysOwn({ plan }: Planned): boolean {
  if (plan.kind !== 'session') return false;
  const { statement } = plan;
  if (statement.type === 'show' || statement.type === 'set') return isOwnSetting(statement.name);
  return statement.type === 'reset' && statement.name !== null && isOwnSetting(statement.name);
}

/** Whether the client is postgres_fdw: it plans by what EXPLAIN tells it, and is told what the core says. */
export function isForeignServer(settings: { get(name: string): string | undefined }): boolean {
  return settings.get('application_name')?.startsWith('postgres_fdw') === true;
}
