// The names of outputs that nobody named: Postgres takes them from what the expression is.

import { type Fields, list, names, type Node } from './parse.ts';

/** The name Postgres gives an output column without alias. */
export function outputName(node: Node): string {
  return figureName(node)?.name ?? '?column?';
}

interface FiguredName {
  readonly name: string;
  /** 2 a good name, 1 only the type's name of a cast or `case`. */
  readonly strength: 1 | 2;
}

function figureName(node: Node | undefined): FiguredName | null {
  if (node === undefined) return null;
  const kind = Object.keys(node)[0] as string;
  const fields = node[kind] as Fields;
  const good = (name: string): FiguredName => ({ name, strength: 2 });
  const last = (value: unknown): FiguredName | null => {
    const path = names(value);
    return path === null ? null : good(path[path.length - 1] as string);
  };
  switch (kind) {
    case 'ColumnRef':
      return last(fields['fields']);
    case 'FuncCall':
      return last(fields['funcname']);
    case 'A_Expr':
      return fields['kind'] === 'AEXPR_NULLIF' ? good('nullif') : null;
    case 'TypeCast': {
      const inner = figureName(fields['arg'] as Node);
      if (inner !== null && inner.strength === 2) return inner;
      const path = names((fields['typeName'] as Fields)['names']);
      return path === null ? inner : { name: path[path.length - 1] as string, strength: 1 };
    }
    case 'A_ArrayExpr':
      return good('array');
    case 'A_Indirection':
      return figureName(fields['arg'] as Node);
    case 'CollateClause':
      return figureName(fields['arg'] as Node);
    case 'CoalesceExpr':
      return good('coalesce');
    case 'GroupingFunc':
      return good('grouping');
    case 'MinMaxExpr':
      return good(fields['op'] === 'IS_LEAST' ? 'least' : 'greatest');
    case 'CaseExpr': {
      const inner = figureName(fields['defresult'] as Node | undefined);
      return inner !== null && inner.strength === 2 ? inner : { name: 'case', strength: 1 };
    }
    case 'SubLink': {
      if (fields['subLinkType'] === 'EXISTS_SUBLINK') return good('exists');
      if (fields['subLinkType'] !== 'EXPR_SUBLINK') return null;
      const target = list((fields['subselect'] as Node)['SelectStmt']?.['targetList'])[0]?.['ResTarget'];
      if (target === undefined) return null;
      const name = target['name'] as string | undefined;
      return name === undefined ? figureName(target['val'] as Node) : good(name);
    }
    case 'SQLValueFunction':
      return good(SQL_VALUE_NAMES[fields['op'] as string] ?? '?column?');
    default:
      return null;
  }
}

const SQL_VALUE_NAMES: Readonly<Record<string, string>> = {
  SVFOP_CURRENT_ROLE: 'current_role',
  SVFOP_CURRENT_USER: 'current_user',
  SVFOP_USER: 'user',
  SVFOP_SESSION_USER: 'session_user',
  SVFOP_CURRENT_CATALOG: 'current_catalog',
  SVFOP_CURRENT_SCHEMA: 'current_schema',
};
