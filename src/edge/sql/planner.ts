// SQL text → plans. Seen templates are found in a cache; others are parsed, resolved against the replica's catalogue, and
// either proven to mean the same in SQLite or forwarded.

import { builtinType, OID } from '../../pg/oid.ts';
import type { Catalogue } from '../../replica/catalogue.ts';
import { Draft } from './expression.ts';
import { type Explainer, explainPlan, isPlainExplain, NO_EXPLAINER } from './explain.ts';
import { Forward } from './forward.ts';
import { laneOf, scansOf } from './lane.ts';
import { type Normalized, normalize } from './normalize.ts';
import { type Fields, list, names, type Node, PARSE_BYTES_MAX, parse, type ParsedStatement } from './parse.ts';
import type {
  Binding,
  ColumnPlan,
  ForwardPlan,
  ForwardReason,
  LocalPlan,
  Plan,
  Planned,
  PlannedStatement,
  PlanningSession,
  Script,
} from './plan.ts';
import { PlanCache } from './plan-cache.ts';
import { type OutputColumn, outputsOf } from './query.ts';
import { SelectPlanner } from './select.ts';
import { ownFunction, sessionStatement } from './session-statements.ts';
import { NO_SHADOWS, type Shadows } from './shadows.ts';
import { typeByName, typeLength } from './types.ts';
import { mayWrite } from './writes.ts';

export interface PlannerOptions {
  /** Templates kept. */
  readonly plansCountMax: number;
  /** Rough size of all kept templates and plans. */
  readonly plansBytesMax: number;
}

export const PLANNER_DEFAULTS: PlannerOptions = { plansCountMax: 5_000, plansBytesMax: 32 * 1024 * 1024 };

/** Statements in one simple-protocol text; longer scripts are forwarded as a whole. */
const STATEMENTS_COUNT_MAX = 1_000;

/** PREPARE x AS PREPARE … is not SQL, DECLARE is no query either: one level is all there is. */
const INNER_DEPTH_MAX = 2;

/** Rough size of a plan beside its SQL text. */
const PLAN_BYTES = 1_500;

const EMPTY: Script = { statements: [], syntaxError: null };

/** What a template's plan is, without the constants of one text. */
interface CachedPlan {
  readonly plan: Plan;
  /** Where the statement ends in texts of this template, counted from the end of the text; only for whole scripts. */
  readonly script: Script | null;
}

/** One per replica catalogue; not for use before `loadParser()`. */
export class Planner {
  readonly #catalogue: () => Catalogue;
  readonly #cache: PlanCache<CachedPlan>;
  /** Short names for search paths and parameter types, so that keys stay short. */
  readonly #contexts = new Map<string, string>();
  #version = -1;
  #catalogueSeen: Catalogue | null = null;
  readonly #explainer: Explainer;
  readonly #shadows: () => Shadows;
  #shadowsSeen: Shadows = NO_SHADOWS;
  #parsed = 0;

  /**
   * `catalogue` gives the replica's catalogue as it is now; `shadows` what is known of the core's own functions and
   * operators: another object when that has changed.
   */
  constructor(
    catalogue: () => Catalogue,
    options: PlannerOptions = PLANNER_DEFAULTS,
    shadows: () => Shadows = () => NO_SHADOWS,
    explainer: Explainer = NO_EXPLAINER,
  ) {
    this.#explainer = explainer;
    this.#shadows = shadows;
    this.#catalogue = catalogue;
    this.#cache = new PlanCache({ countMax: options.plansCountMax, bytesMax: options.plansBytesMax });
  }

  /** For metrics: plans kept, their rough size, and texts that had to be parsed so far. */
  get statistics(): { readonly plans: number; readonly bytes: number; readonly parsed: number } {
    return { plans: this.#cache.count, bytes: this.#cache.bytes, parsed: this.#parsed };
  }

  /** Plans a text of the simple protocol. */
  script(text: string, session: PlanningSession): Script {
    const catalogue = this.#current();
    const normalized = normalize(text, this.#context(session.key, ''));
    const cached = this.#cache.find(normalized.template, normalized.literals);
    if (cached !== undefined) {
      if (cached.script !== null) return cached.script;
      const end = normalized.end < 0 ? text.length : normalized.end;
      return { statements: [{ plan: cached.plan, literals: normalized.literals, start: 0, end }], syntaxError: null };
    }
    return this.#script(text, session, normalized, catalogue);
  }

  /** Plans the one statement of a Parse message. `parameterTypes`: as the client declared them, 0 where it did not. */
  statement(text: string, parameterTypes: readonly number[], session: PlanningSession): Planned {
    return this.#statement(text, parameterTypes, session, 0);
  }

  #statement(text: string, parameterTypes: readonly number[], session: PlanningSession, depth: number): Planned {
    const catalogue = this.#current();
    const normalized = normalize(text, this.#context(session.key, `$${parameterTypes.join()}`));
    const cached = this.#cache.find(normalized.template, normalized.literals);
    if (cached !== undefined) return { plan: cached.plan, literals: normalized.literals };
    const refused = unreadable(text);
    if (refused !== null) return { plan: refused, literals: [] };
    this.#parsed += 1;
    const parsed = parse(text);
    if (parsed.error !== null) return { plan: forward('syntax-error', parsed.error.message), literals: [] };
    const only = parsed.statements[0];
    if (only === undefined) return { plan: { kind: 'empty' }, literals: [] };
    if (parsed.statements.length > 1) {
      return {
        plan: forward('syntax-error', 'cannot insert multiple commands into a prepared statement'),
        literals: [],
      };
    }
    const { plan, baked } = this.#plan(only, {
      text,
      parameterTypes,
      session,
      normalized,
      catalogue,
      offset: parsed.offset,
      depth,
    });
    this.#store(normalized, baked, { plan, script: null });
    return { plan, literals: normalized.literals };
  }

  #script(text: string, session: PlanningSession, normalized: Normalized, catalogue: Catalogue): Script {
    const refused = unreadable(text);
    if (refused !== null) return whole(text, refused);
    this.#parsed += 1;
    const parsed = parse(text);
    if (parsed.error !== null) return { statements: [], syntaxError: parsed.error };
    if (parsed.statements.length === 0) return EMPTY;
    if (parsed.statements.length > STATEMENTS_COUNT_MAX) return whole(text, forward('too-long', 'too many statements'));
    const context = { text, parameterTypes: [], session, catalogue, offset: parsed.offset, depth: 0 };
    const only = parsed.statements[0] as ParsedStatement;
    if (parsed.statements.length === 1 && normalized.end >= 0) {
      const { plan, baked } = this.#plan(only, { ...context, normalized });
      this.#store(normalized, baked, { plan, script: null });
      return {
        statements: [{ plan, literals: normalized.literals, start: 0, end: normalized.end }],
        syntaxError: null,
      };
    }
    // Several statements, or a text that the scanner does not take apart: kept under its very text.
    const statements = parsed.statements.map((statement): PlannedStatement => {
      const { plan } = this.#plan(statement, { ...context, normalized: UNLIFTED });
      return { plan, literals: [], start: statement.start, end: statement.end };
    });
    const script: Script = { statements, syntaxError: null };
    const isPlain = statements.every((statement) => statement.plan.kind !== 'session');
    if (normalized.literals.length === 0 && isPlain) {
      this.#store(normalized, [], { plan: (statements[0] as PlannedStatement).plan, script });
    }
    return script;
  }

  #store(normalized: Normalized, baked: readonly number[] | null, cached: CachedPlan): void {
    if (baked === null) return;
    const { plan } = cached;
    const bytes = PLAN_BYTES + (plan.kind === 'local' ? plan.sql.length * 2 + plan.columns.length * 200 : 0);
    this.#cache.store(
      normalized.template,
      normalized.literals,
      baked,
      cached,
      bytes * (cached.script?.statements.length ?? 1),
    );
  }

  /** `baked` null: not to be kept. */
  #plan(statement: ParsedStatement, context: PlanContext): { plan: Plan; baked: readonly number[] | null } {
    const { node } = statement;
    if (statement.isTooDeep) return { plan: forward('too-long', 'the statement is nested too deeply'), baked: [] };
    try {
      const select = node['SelectStmt'];
      const own = select === undefined ? null : ownFunction(select);
      if (own !== null) return { plan: { kind: 'session', statement: own }, baked: [] };
      if (select !== undefined) return planSelect(select, context, this.#shadowsSeen);
      const explain = node['ExplainStmt'];
      if (explain !== undefined && isPlainExplain(explain)) return this.#explain(explain, node, context);
      const session = sessionStatement(node, {
        text: context.text,
        start: statement.start,
        end: statement.end,
        offset: context.offset,
        parameterTypes: context.parameterTypes,
        typeOid: (typeName) => plainTypeOid(typeName),
        plan: (query, parameterTypes) =>
          context.depth >= INNER_DEPTH_MAX
            ? { plan: forward('unproven-syntax', 'statements in statements'), literals: [] }
            : this.#statement(query, parameterTypes, context.session, context.depth + 1),
      });
      if (session !== null) {
        // It may carry the constants of this very text (SET x = 1); BEGIN and COMMIT have none.
        const baked = context.normalized.end >= 0 && context.normalized.literals.length === 0 ? [] : null;
        return { plan: { kind: 'session', statement: session }, baked };
      }
      const kind = Object.keys(node)[0] as string;
      const write = mayWrite(node);
      return { plan: { ...forward(write ? 'write' : 'utility', kind), write }, baked: [] };
    } catch (error) {
      if (!(error instanceof Forward)) throw error;
      const plan: ForwardPlan = { kind: 'forward', reason: error.reason, detail: error.message, write: mayWrite(node) };
      // Another constant may be readable here.
      return { plan, baked: error.reason === 'literal' ? null : [] };
    }
  }

  /** Never kept: the next one may find other rows, and another plan of SQLite's. */
  #explain(fields: Fields, node: Node, context: PlanContext): { plan: Plan; baked: null } {
    const select = (fields['query'] as Node)['SelectStmt'] as Fields;
    try {
      const { plan } = planSelect(select, context, this.#shadowsSeen);
      return { plan: explainPlan(plan, this.#explainer), baked: null };
    } catch (error) {
      if (!(error instanceof Forward)) throw error;
      const notice = `the core answers this: ${error.reason} (${error.message})`;
      return {
        plan: { kind: 'forward', reason: 'utility', detail: 'EXPLAIN', write: mayWrite(node), notice },
        baked: null,
      };
    }
  }

  #current(): Catalogue {
    const catalogue = this.#catalogue();
    const shadows = this.#shadows();
    if (catalogue !== this.#catalogueSeen || catalogue.version !== this.#version || shadows !== this.#shadowsSeen) {
      this.#shadowsSeen = shadows;
      this.#catalogueSeen = catalogue;
      this.#version = catalogue.version;
      this.#cache.clear();
      this.#contexts.clear();
    }
    return catalogue;
  }

  #context(sessionKey: string, parameters: string): string {
    const key = `${sessionKey}\u0002${parameters}`;
    let context = this.#contexts.get(key);
    if (context === undefined) {
      if (this.#contexts.size >= CONTEXTS_COUNT_MAX) {
        // Names would be given twice.
        this.#cache.clear();
        this.#contexts.clear();
      }
      context = `${this.#contexts.size}\u0002`;
      this.#contexts.set(key, context);
    }
    return context;
  }
}

/** Combinations of search_path and parameter types that have a name; at the bound all plans are dropped. */
const CONTEXTS_COUNT_MAX = 10_000;

const UNLIFTED: Normalized = { template: '', literals: [], starts: [], end: -1 };

interface PlanContext {
  readonly text: string;
  readonly parameterTypes: readonly number[];
  readonly session: PlanningSession;
  readonly normalized: Normalized;
  readonly catalogue: Catalogue;
  readonly offset: (location: number) => number;
  readonly depth: number;
}

function forward(reason: ForwardReason, detail: string): ForwardPlan {
  return { kind: 'forward', reason, detail, write: true };
}

function whole(text: string, plan: Plan): Script {
  return { statements: [{ plan, literals: [], start: 0, end: text.length }], syntaxError: null };
}

function unreadable(text: string): ForwardPlan | null {
  if (text.length > PARSE_BYTES_MAX)
    return forward('too-long', `a statement of more than ${PARSE_BYTES_MAX} characters`);
  return text.includes('\u0000') ? forward('syntax-error', 'a NUL character') : null;
}

function planSelect(
  select: Fields,
  context: PlanContext,
  shadows: Shadows,
): { plan: LocalPlan; baked: readonly number[] } {
  const { session, normalized, catalogue } = context;
  const path = session.searchPath;
  if (path.includes('pg_catalog') && path[0] !== 'pg_catalog') {
    throw new Forward('shadowed', 'search_path names other schemas before pg_catalog');
  }
  if (shadows.hasImplicitCasts) throw new Forward('shadowed', 'the database has implicit casts of its own');
  const encoding = catalogue.server.settings['server_encoding'];
  if (encoding !== undefined && encoding !== 'UTF8')
    throw new Forward('setting', `the server's encoding is ${encoding}`);
  const draft = new Draft({
    catalogue,
    parameterTypes: context.parameterTypes,
    text: context.text,
    shadows,
    searchPath: path,
    liftable: new Map(normalized.starts.map((start, index) => [start, index])),
  });
  const query = new SelectPlanner({ draft, session, offset: context.offset }).statement(select);
  const outputs = outputsOf(query);
  const columns = outputs.map(columnPlan);
  // Names make the rows whole also for those who read them as objects, where two columns of one name would be one.
  const sql = guarded(
    query.sql(
      outputs.map(({ expression }, index) => `${outputSql(expression.typeOid, expression.value())} AS o${index}`),
    ),
    outputs.length,
    draft.guards,
  );
  if (sql.length > SQL_LENGTH_MAX) throw new Forward('too-long', 'the statement grows too long');
  // SQLite loses conditions and rows when it pulls the branches of a UNION ALL up beside such joins (3.53, found by the fuzzer).
  if (/\b(?:RIGHT|FULL) JOIN\b/.test(sql) && sql.includes('UNION ALL'))
    throw new Forward('unproven-syntax', 'UNION ALL, or several tables as one, with RIGHT or FULL joins');
  const unknown = draft.parameterTypes.findIndex((typeOid) => typeOid === 0 || typeOid === OID.unknown);
  if (unknown >= 0)
    throw new Forward('parameter-type', `the type of $${unknown + 1} does not follow from the statement`);
  const { lane, rowsMax } = laneOf(query, catalogue);
  // Such a lookup is faster at the core than a scan is here.
  if (lane === 'fast' && draft.isScanning) throw new Forward('may-fail', 'a condition that may fail, beside a lookup');
  const scans = lane === 'fast' ? null : scansOf(query, catalogue);
  const used = onlyUsed(sql, draft.bindings);
  const plan: LocalPlan = {
    kind: 'local',
    lane,
    sql: used.sql,
    bindings: used.bindings,
    parameterTypes: draft.parameterTypes,
    columns,
    tag: 'SELECT',
    tables: [...draft.tables],
    needs: draft.needs,
    mayFail: draft.mayFail,
    rowsMax,
    ...(scans === null ? {} : { scans }),
  };
  return { plan, baked: draft.baked() };
}

/**
 * A text that fails when a guard is true. LIMIT is computed once before the first row, whatever else the plan does; what is
 * around keeps the order.
 */
function guarded(sql: string, width: number, guards: readonly string[]): string {
  if (guards.length === 0) return sql;
  const names = Array.from({ length: width }, (_, index) => `o${index}`);
  // abs() of the smallest integer is SQLite's own overflow error; what is added keeps it from being computed beforehand.
  const count = guards
    .map((guard) => `WHEN ${guard} THEN abs(-9223372036854775807 - 1 + (${guard} IS NULL))`)
    .join(' ');
  return `SELECT ${width === 0 ? '1' : names.join(', ')} FROM (${sql}) LIMIT CASE ${count} ELSE -1 END`;
}

/** What was translated and then left out may have bound constants that the text does not have: SQLite would not take them. */
function onlyUsed(sql: string, bindings: readonly Binding[]): { sql: string; bindings: readonly Binding[] } {
  const slots = new Set<number>();
  // Quoted things are passed over.
  const pattern = /'(?:[^']|'')*'|"(?:[^"]|"")*"|\?(\d+)/g;
  for (const found of sql.matchAll(pattern)) if (found[1] !== undefined) slots.add(Number(found[1]));
  if (slots.size === bindings.length) return { sql, bindings };
  const kept = bindings.map((_, index) => index + 1).filter((slot) => slots.has(slot));
  const numbers = new Map(kept.map((slot, index) => [slot, index + 1]));
  return {
    sql: sql.replace(pattern, (found, slot: string | undefined) =>
      slot === undefined ? found : `?${numbers.get(Number(slot))}`,
    ),
    bindings: kept.map((slot) => bindings[slot - 1] as Binding),
  };
}

/** SQLite text of one plan. */
const SQL_LENGTH_MAX = 200_000;

/** int8 is read as text: it may exceed what the driver gives back exactly as a number. */
function outputSql(typeOid: number, value: string): string {
  return typeOid === OID.int8 ? `CAST(${value} AS TEXT)` : value;
}

function columnPlan({ name, expression }: OutputColumn): ColumnPlan {
  const { facts, column, isPlain } = expression;
  const origin = isPlain ? column : null;
  return {
    name,
    tableOid: origin?.tableOid ?? 0,
    attnum: origin?.attnum ?? 0,
    typeOid: facts.oid,
    typeLength: typeLength(facts.oid, facts.family),
    typmod: origin === null ? expression.typmod : origin.clientTypmod,
    reader: facts.reader,
    textNeeds: facts.textNeeds,
  };
}

/** A type name of PREPARE's list; 0 when it is not one the planner works with. */
function plainTypeOid(fields: Fields): number {
  const path = names(fields['names']);
  if (path === null || path.length > 2 || (path.length === 2 && path[0] !== 'pg_catalog')) return 0;
  const typeOid = typeByName(path[path.length - 1] as string);
  return list(fields['arrayBounds']).length === 0 ? typeOid : (builtinType(typeOid)?.arrayOid ?? 0);
}
