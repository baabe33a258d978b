// Statements about the session itself (SET, BEGIN, PREPARE, FETCH …) out of their syntax trees.

import { Forward } from './forward.ts';
import { type Fields, list, names, type Node } from './parse.ts';
import type { ConstantKind, Planned, SessionStatement, TransactionModes } from './plan.ts';

/** What reading a statement needs from the planner around it. */
export interface StatementContext {
  /** The whole text. */
  readonly text: string;
  /** Where this statement stands in it. */
  readonly start: number;
  readonly end: number;
  readonly offset: (location: number) => number;
  /** Plans a statement inside this one. */
  readonly plan: (query: string, parameterTypes: readonly number[]) => Planned;
  /** OID of a type name; 0 when it is not known here. */
  readonly typeOid: (typeName: Fields) => number;
  /** Types of the client's parameters, for statements that contain a query. */
  readonly parameterTypes: readonly number[];
}

/** The statement, or null when it is not about the session. */
export function sessionStatement(node: Node, context: StatementContext): SessionStatement | null {
  const kind = Object.keys(node)[0] as string;
  const fields = node[kind] as Fields;
  const text = (name: string): string | undefined => fields[name] as string | undefined;
  switch (kind) {
    case 'TransactionStmt':
      return transaction(fields);
    case 'VariableSetStmt':
      return set(fields, context);
    case 'VariableShowStmt':
      return { type: 'show', name: text('name') ?? 'all' };
    case 'DiscardStmt': {
      const target = (text('target') ?? 'DISCARD_ALL').replace('DISCARD_', '').toLowerCase();
      return { type: 'discard', target: target as 'all' | 'plans' | 'sequences' | 'temp' };
    }
    case 'DeallocateStmt':
      return { type: 'deallocate', name: text('name') ?? null };
    case 'ClosePortalStmt':
      return { type: 'close', name: text('portalname') ?? null };
    case 'ListenStmt':
      return { type: 'listen', channel: text('conditionname') ?? '' };
    case 'UnlistenStmt':
      return { type: 'unlisten', channel: text('conditionname') ?? null };
    case 'NotifyStmt':
      return { type: 'notify', channel: text('conditionname') ?? '', payload: text('payload') ?? '' };
    case 'PrepareStmt':
      return prepare(fields, context);
    case 'ExecuteStmt':
      return {
        type: 'execute',
        name: text('name') ?? '',
        argumentTexts: argumentTexts(list(fields['params'])),
        argumentKinds: list(fields['params']).map(constantKind),
      };
    case 'DeclareCursorStmt':
      return declare(fields, context);
    case 'FetchStmt':
      return fetch_(fields);
    default:
      return null;
  }
}

/** `SELECT skerry.token()`, alone: the one function of ours. Null for every other SELECT. */
export function ownFunction(select: Fields): SessionStatement | null {
  const targets = list(select['targetList']);
  if (targets.length !== 1 || Object.keys(select).some((key) => !PLAIN_SELECT.has(key))) return null;
  const target = targets[0]?.['ResTarget'];
  const call = (target?.['val'] as Node | undefined)?.['FuncCall'];
  if (call === undefined || call['args'] !== undefined || names(call['funcname'])?.join('.') !== 'skerry.token') {
    return null;
  }
  return { type: 'show', name: 'skerry.token', column: (target?.['name'] as string | undefined) ?? 'token' };
}

/** What the tree of a SELECT without clauses has. */
const PLAIN_SELECT: ReadonlySet<string> = new Set(['targetList', 'limitOption', 'op']);

function transaction(fields: Fields): SessionStatement {
  const kind = (fields['kind'] as string | undefined) ?? 'TRANS_STMT_BEGIN';
  const name = (fields['savepoint_name'] as string | undefined) ?? '';
  const chain = fields['chain'] === true;
  switch (kind) {
    case 'TRANS_STMT_BEGIN':
      return { type: 'begin', tag: 'BEGIN', modes: modesOf(fields['options']) };
    case 'TRANS_STMT_START':
      return { type: 'begin', tag: 'START TRANSACTION', modes: modesOf(fields['options']) };
    case 'TRANS_STMT_COMMIT':
      return { type: 'commit', chain };
    case 'TRANS_STMT_ROLLBACK':
      return { type: 'rollback', chain };
    case 'TRANS_STMT_SAVEPOINT':
      return { type: 'savepoint', name };
    case 'TRANS_STMT_RELEASE':
      return { type: 'release', name };
    case 'TRANS_STMT_ROLLBACK_TO':
      return { type: 'rollback-to', name };
    default:
      throw new Forward('write', 'a prepared transaction');
  }
}

function modesOf(options: unknown): TransactionModes {
  let isolation: TransactionModes['isolation'] = null;
  let readOnly: boolean | null = null;
  let deferrable: boolean | null = null;
  for (const node of list(options)) {
    const element = node['DefElem'] as Fields;
    const constant = (element['arg'] as Node | undefined)?.['A_Const'];
    const isOn = ((constant?.['ival'] as Fields | undefined)?.['ival'] as number | undefined) === 1;
    if (element['defname'] === 'transaction_read_only') readOnly = isOn;
    else if (element['defname'] === 'transaction_deferrable') deferrable = isOn;
    else if (element['defname'] === 'transaction_isolation') {
      isolation = (constant?.['sval'] as Fields | undefined)?.['sval'] as TransactionModes['isolation'];
    }
  }
  return { isolation, readOnly, deferrable };
}

function set(fields: Fields, context: StatementContext): SessionStatement {
  const kind = (fields['kind'] as string | undefined) ?? 'VAR_SET_VALUE';
  const name = (fields['name'] as string | undefined) ?? '';
  const local = fields['is_local'] === true;
  switch (kind) {
    case 'VAR_SET_VALUE':
      return { type: 'set', name, local, values: list(fields['args']).map((node) => settingText(node, context)) };
    case 'VAR_SET_DEFAULT':
      return { type: 'set', name, local, values: null };
    case 'VAR_RESET':
      return { type: 'reset', name };
    case 'VAR_RESET_ALL':
      return { type: 'reset', name: null };
    case 'VAR_SET_MULTI':
      if (name === 'TRANSACTION') return { type: 'set-transaction', modes: modesOf(fields['args']) };
      if (name === 'SESSION CHARACTERISTICS') {
        return { type: 'set-session-characteristics', modes: modesOf(fields['args']) };
      }
      throw new Forward('utility', `SET ${name}`);
    default:
      throw new Forward('utility', 'SET … FROM CURRENT');
  }
}

function settingText(node: Node, context: StatementContext): string {
  const constant = constantText(node);
  if (constant !== undefined && constant !== null) return constant;
  // SET TIME ZONE INTERVAL '…': kept as written.
  const type = node['TypeCast']?.['typeName'] as Fields | undefined;
  const start = context.offset((type?.['location'] as number | undefined) ?? 0);
  return context.text.slice(start, context.end);
}

/** Text of a constant, null of NULL, undefined of anything else. */
function constantText(node: Node): string | null | undefined {
  const constant = node['A_Const'];
  if (constant === undefined) return undefined;
  if (constant['isnull'] === true) return null;
  const part = (kind: string): unknown => (constant[kind] as Fields | undefined)?.[kind];
  if (constant['sval'] !== undefined) return (part('sval') as string | undefined) ?? '';
  if (constant['ival'] !== undefined) return String((part('ival') as number | undefined) ?? 0);
  if (constant['fval'] !== undefined) return part('fval') as string;
  if (constant['boolval'] !== undefined) return part('boolval') === true ? 'true' : 'false';
  return undefined;
}

function constantKind(node: Node): ConstantKind {
  const constant = node['A_Const'] ?? {};
  if (constant['ival'] !== undefined) return 'integer';
  if (constant['fval'] !== undefined) return 'float';
  if (constant['boolval'] !== undefined) return 'boolean';
  return constant['sval'] === undefined ? 'null' : 'string';
}

function argumentTexts(nodes: readonly Node[]): (string | null)[] | null {
  const texts = nodes.map(constantText);
  return texts.every((text) => text !== undefined) ? (texts as (string | null)[]) : null;
}

function prepare(fields: Fields, context: StatementContext): SessionStatement {
  const types = list(fields['argtypes']).map((node) => context.typeOid(node['TypeName'] as Fields));
  const isKnown = types.every((type) => type !== 0);
  // PREPARE name [(types)] AS query: the first AS outside quotes ends the head.
  const head = /^\s*prepare\s+(?:"(?:[^"]|"")*"|[^\s("]+)\s*(?:\([^"']*?\)\s*)?as\b/i.exec(
    context.text.slice(context.start, context.end),
  );
  if (head === null) throw new Forward('unproven-syntax', 'PREPARE in an unusual form');
  const query = context.text.slice(context.start + head[0].length, context.end).trim();
  return {
    type: 'prepare',
    name: (fields['name'] as string | undefined) ?? '',
    parameterTypes: isKnown ? types : null,
    query,
    planned: isKnown
      ? context.plan(query, types)
      : {
          plan: { kind: 'forward', reason: 'unproven-type', detail: 'PREPARE with a type not known here', write: true },
          literals: [],
        },
  };
}

// FETCH_ALL is the largest long of the server's platform.
const FETCH_ALL = 2_147_483_647;

const CURSOR_OPTION = { binary: 0x0001, scroll: 0x0002, noScroll: 0x0004, hold: 0x0020 } as const;

function declare(fields: Fields, context: StatementContext): SessionStatement {
  const options = (fields['options'] as number | undefined) ?? 0;
  const text = context.text.slice(context.start, context.end);
  const head =
    /^\s*declare\s+(?:"(?:[^"]|"")*"|[^\s"]+)\s+(?:(?:binary|insensitive|asensitive|no\s+scroll|scroll)\s+)*cursor\s+(?:with(?:out)?\s+hold\s+)?for\s/i.exec(
      text,
    );
  if (head === null) throw new Forward('unproven-syntax', 'DECLARE in an unusual form');
  const query = text.slice(head[0].length).trim();
  return {
    type: 'declare',
    name: (fields['portalname'] as string | undefined) ?? '',
    binary: (options & CURSOR_OPTION.binary) !== 0,
    hold: (options & CURSOR_OPTION.hold) !== 0,
    scroll: (options & CURSOR_OPTION.scroll) !== 0 ? true : (options & CURSOR_OPTION.noScroll) !== 0 ? false : null,
    query,
    planned: context.plan(query, context.parameterTypes),
  };
}

function fetch_(fields: Fields): SessionStatement {
  const direction = ((fields['direction'] as string | undefined) ?? 'FETCH_FORWARD')
    .replace('FETCH_', '')
    .toLowerCase();
  const count = Number((fields['howMany'] as number | string | undefined) ?? 0);
  return {
    type: 'fetch',
    move: fields['ismove'] === true,
    cursor: (fields['portalname'] as string | undefined) ?? '',
    direction: direction as 'forward' | 'backward' | 'absolute' | 'relative',
    count: count >= FETCH_ALL ? null : count,
  };
}
