// EXPLAIN: where a statement would be answered, and how. At the edge it is the plan that SQLite made; otherwise the core is
// asked for its plan, and told of why.

import { OID } from '../../pg/oid.ts';
import { type Fields, list } from './parse.ts';
import type { LocalPlan, Plan } from './plan.ts';

/** What EXPLAIN asks the replica. */
export interface Explainer {
  /** EXPLAIN QUERY PLAN of a plan's text, one line a step, indented. */
  readonly steps: (plan: LocalPlan) => readonly string[];
  /** Whether it runs on the event loop now. */
  readonly isFast: (plan: LocalPlan) => boolean;
  /** Rows of a table; 0 when unknown. */
  readonly rows: (tableOid: number) => number;
}

/** Without a replica to ask. */
export const NO_EXPLAINER: Explainer = {
  steps: () => [],
  isFast: ({ lane }) => lane === 'fast',
  rows: () => 0,
};

/** True for EXPLAIN of a SELECT that runs nothing and is printed as text: others are the core's in any case. */
export function isPlainExplain(fields: Fields): boolean {
  const isQuiet = list(fields['options']).every((option) => {
    const name = option['DefElem']?.['defname'];
    return name === 'verbose' || name === 'costs' || name === 'summary';
  });
  return isQuiet && (fields['query'] as Fields | undefined)?.['SelectStmt'] !== undefined;
}

/** The plan that answers EXPLAIN of a statement that is answered here: its lines are constants. */
export function explainPlan(plan: LocalPlan, explainer: Explainer): LocalPlan {
  const lines = explainLines(plan, explainer);
  return {
    kind: 'local',
    lane: 'fast',
    sql: `SELECT column1 AS o0 FROM (VALUES ${lines.map((line) => `('${line.replaceAll("'", "''")}')`).join(', ')})`,
    bindings: [],
    parameterTypes: plan.parameterTypes,
    columns: [
      {
        name: 'QUERY PLAN',
        tableOid: 0,
        attnum: 0,
        typeOid: OID.text,
        typeLength: -1,
        typmod: -1,
        reader: 'text',
        textNeeds: 0,
      },
    ],
    tag: 'EXPLAIN',
    tables: plan.tables,
    needs: 0,
    mayFail: false,
    rowsMax: lines.length,
  };
}

/** The first line has costs in Postgres' form: postgres_fdw plans by them. A row that is read costs what it costs there. */
function explainLines(plan: LocalPlan, { steps, isFast, rows }: Explainer): string[] {
  const read = plan.tables.reduce((sum, oid) => sum + rows(oid), 0);
  const estimate = plan.rowsMax ?? Math.max(1, ...plan.tables.map(rows));
  const cost = (plan.lane === 'fast' && plan.rowsMax !== null ? plan.rowsMax * 0.05 : read * 0.01).toFixed(2);
  const width = plan.columns.reduce((sum, { typeLength }) => sum + (typeLength > 0 ? typeLength : 32), 0);
  const lane = isFast(plan) ? 'in the fast lane' : 'in a slow lane';
  return [
    `Edge, ${lane}  (cost=0.00..${cost} rows=${estimate} width=${width})`,
    ...(plan.mayFail ? ['  The core is asked when SQLite meets what Postgres may have an error for'] : []),
    ...steps(plan).map((step) => `  ->  ${step}`),
  ];
}

/** The same for programs: `skerry explain --json`, GET /explain. */
export interface Explanation {
  readonly answered: 'edge' | 'core' | 'session';
  /** Why the core answers; null at the edge. */
  readonly reason: string | null;
  readonly detail: string | null;
  readonly lane: 'fast' | 'slow' | null;
  /** SQLite text and the steps of its plan. */
  readonly sql: string | null;
  readonly steps: readonly string[];
}

export function explanationOf(plan: Plan, explainer: Explainer): Explanation {
  const nothing = { reason: null, detail: null, lane: null, sql: null, steps: [] };
  switch (plan.kind) {
    case 'local':
      return {
        ...nothing,
        answered: 'edge',
        lane: explainer.isFast(plan) ? 'fast' : 'slow',
        sql: plan.sql,
        steps: explainer.steps(plan),
      };
    case 'forward':
      return { ...nothing, answered: 'core', reason: plan.reason, detail: plan.detail };
    case 'session':
      return { ...nothing, answered: 'session', detail: `${plan.statement.type}: about the session itself` };
    case 'empty':
      return { ...nothing, answered: 'edge', detail: 'no statement at all' };
  }
}
