// A planner that knows a handful of texts, for tests of the server that must not depend on what is provable.

import type { StatementPlanner } from '../src/edge/local.ts';
import type { ForwardReason, LocalPlan, Plan, Planned, SessionStatement } from '../src/edge/sql/plan.ts';
import { OID } from '../src/pg/oid.ts';
import type { Catalogue } from '../src/replica/catalogue.ts';

export function fakePlanner(catalogue: () => Catalogue): StatementPlanner {
  let known: { readonly of: Catalogue; readonly planner: StatementPlanner } | null = null;
  const planner = (): StatementPlanner => {
    if (known?.of !== catalogue()) known = { of: catalogue(), planner: plannerOf(catalogue()) };
    return known.planner;
  };
  return {
    script: (text, session) => planner().script(text, session),
    statement: (text, types, session) => planner().statement(text, types, session),
  };
}

function plannerOf(catalogue: Catalogue): StatementPlanner {
  const table = catalogue.find('public', 't');
  const columns: LocalPlan['columns'] = [
    {
      name: 'id',
      tableOid: table?.oid ?? 0,
      attnum: 1,
      typeOid: OID.int4,
      typeLength: 4,
      typmod: -1,
      reader: 'integer',
      textNeeds: 0,
    },
    {
      name: 'body',
      tableOid: table?.oid ?? 0,
      attnum: 2,
      typeOid: OID.text,
      typeLength: -1,
      typmod: -1,
      reader: 'text',
      textNeeds: 0,
    },
  ];
  const local = (sql: string, more: Partial<LocalPlan> = {}): LocalPlan => ({
    kind: 'local',
    lane: 'fast',
    sql,
    bindings: [],
    parameterTypes: [],
    columns,
    tag: 'SELECT',
    tables: table === undefined ? [] : [table.oid],
    needs: 0,
    mayFail: false,
    rowsMax: null,
    ...more,
  });
  const byId = local('SELECT id, body FROM "public.t" WHERE id = ?1', {
    bindings: [{ from: 'literal', index: 0, writer: 'int4', typeOid: OID.int4 }],
    rowsMax: 1,
  });
  const byParameter = local('SELECT id, body FROM "public.t" WHERE id = ?1', {
    bindings: [{ from: 'parameter', index: 0, writer: 'int4', typeOid: OID.int4 }],
    parameterTypes: [OID.int4],
    rowsMax: 1,
  });
  const all = local('SELECT id, body FROM "public.t"', { lane: 'slow' });
  const plan = (text: string): Planned => {
    const literal = /^SELECT id, body FROM t WHERE id = (-?\d+)$/.exec(text);
    if (literal !== null) return { plan: byId, literals: [literal[1] as string] };
    if (text === 'SELECT id, body FROM t WHERE id = $1') return { plan: byParameter, literals: [] };
    if (text === 'SELECT id, body FROM t') return { plan: all, literals: [] };
    return {
      plan:
        sessionPlan(text) ??
        forward(/^(SELECT|FETCH)/.test(text) ? 'unproven-syntax' : 'write', !text.startsWith('SELECT')),
      literals: [],
    };
  };
  return {
    script(text) {
      const statements = text
        .split(';')
        .map((part) => part.trim())
        .filter((part) => part !== '')
        .map((part) => ({ ...plan(part), start: text.indexOf(part), end: text.indexOf(part) + part.length }));
      return { statements, syntaxError: null };
    },
    statement: (text) => (text.trim() === '' ? { plan: { kind: 'empty' }, literals: [] } : plan(text)),
  };
}

function forward(reason: ForwardReason, write: boolean): Plan {
  return { kind: 'forward', reason, detail: 'the fake planner does not know it', write };
}

function sessionPlan(text: string): Plan | null {
  const statement = sessionStatement(text);
  return statement === null ? null : { kind: 'session', statement };
}

const NO_MODES = { isolation: null, readOnly: null, deferrable: null };

function sessionStatement(text: string): SessionStatement | null {
  const show = /^SHOW (\S+)$/i.exec(text);
  if (show !== null) return { type: 'show', name: (show[1] as string).toLowerCase() };
  const set = /^SET (LOCAL )?(\S+) (?:TO|=) '?([^']*)'?$/i.exec(text);
  if (set !== null) {
    return {
      type: 'set',
      name: (set[2] as string).toLowerCase(),
      local: set[1] !== undefined,
      values: [set[3] as string],
    };
  }
  if (/^RESET ALL$/i.test(text)) return { type: 'reset', name: null };
  if (/^BEGIN ISOLATION LEVEL REPEATABLE READ$/i.test(text)) {
    return { type: 'begin', tag: 'BEGIN', modes: { ...NO_MODES, isolation: 'repeatable read' } };
  }
  if (/^BEGIN$/i.test(text)) return { type: 'begin', tag: 'BEGIN', modes: NO_MODES };
  if (/^COMMIT$/i.test(text)) return { type: 'commit', chain: false };
  if (/^ROLLBACK$/i.test(text)) return { type: 'rollback', chain: false };
  const savepoint = /^SAVEPOINT (\w+)$/i.exec(text);
  if (savepoint !== null) return { type: 'savepoint', name: savepoint[1] as string };
  const rollbackTo = /^ROLLBACK TO (?:SAVEPOINT )?(\w+)$/i.exec(text);
  if (rollbackTo !== null) return { type: 'rollback-to', name: rollbackTo[1] as string };
  if (/^DISCARD ALL$/i.test(text)) return { type: 'discard', target: 'all' };
  if (/^DEALLOCATE ALL$/i.test(text)) return { type: 'deallocate', name: null };
  return null;
}
