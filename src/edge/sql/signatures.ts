// The functions, operators and implicit casts that Postgres chooses from, for the names that are proven here. All of a name are
// listed, also those that are not proven: which one Postgres would call depends on all of them. signatures.pg.test.ts compares
// with the servers' own catalogues.

import { builtinTypeByName } from '../../pg/oid.ts';
import { FUNCTION_LIST, OPERATOR_LIST } from './signature-list.ts';

export interface Signature {
  readonly name: string;
  /** `name(type,type)` or `type name type`: the key of what is proven. */
  readonly text: string;
  readonly parameters: readonly number[];
  readonly result: number;
  readonly isVariadic: boolean;
  /** How many of the last parameters have defaults. */
  readonly defaults: number;
  readonly isSet: boolean;
  readonly kind: 'function' | 'aggregate' | 'window';
  /** Not called when an argument is NULL: the result is NULL. */
  readonly isStrict: boolean;
}

interface Listed extends Signature {
  /** The only versions that have it; 0: all. */
  readonly only: 0 | 15 | 18;
}

let functions: Map<string, Listed[]> | null = null;
let operators: Map<string, Signature[]> | null = null;

/** All functions of a name on a server of `version` (server_version_num); null when they are not known. */
export function functionsOf(name: string, version: number): readonly Signature[] | null {
  functions ??= readFunctions();
  const listed = functions.get(name);
  if (listed === undefined) return null;
  const major = Math.floor(version / 10_000);
  // 16 and 17 have some of what is new in 18.
  const isBetween = major !== 15 && major !== 18;
  if (isBetween && listed.some((each) => each.only !== 0)) return null;
  return listed.filter((each) => each.only === 0 || each.only === major);
}

/** Operators of a name with one or two operands: the same in 15 to 18. */
export function operatorsOf(name: string, operands: number): readonly Signature[] {
  operators ??= readOperators();
  return (operators.get(name) ?? []).filter((each) => each.parameters.length === operands);
}

/** Pseudo types that values never have. */
const PSEUDO_TYPES: ReadonlyMap<string, number> = new Map([
  ['anynonarray', 2776],
  ['anyenum', 3500],
  ['anyrange', 3831],
  ['anymultirange', 4537],
  ['anycompatible', 5077],
  ['anycompatiblearray', 5078],
  ['anycompatiblenonarray', 5079],
  ['anycompatiblerange', 5080],
  ['anycompatiblemultirange', 4538],
]);

function typeOid(name: string): number {
  const oid = PSEUDO_TYPES.get(name) ?? builtinTypeByName(name)?.oid;
  if (oid === undefined) throw new RangeError(`type ${name} is not known`);
  return oid;
}

const FUNCTION = /^(\w+)\(([^)]*)\)(setof )?(\w+)( agg| win)?(?: =(\d+))?( lax)?(?: @(15|18))?$/;

function readFunctions(): Map<string, Listed[]> {
  const read = new Map<string, Listed[]>();
  for (const line of FUNCTION_LIST.split('\n')) {
    const found = FUNCTION.exec(line);
    if (found === null) continue;
    const [, name, list, set, result, kind, defaults, lax, only] = found as unknown as [
      string,
      string,
      string,
      ...(string | undefined)[],
    ];
    const types = list === '' ? [] : list.split(',');
    const signature: Listed = {
      name,
      text: `${name}(${list})`,
      parameters: types.map((type) => typeOid(type.replace('*', ''))),
      result: typeOid(result as string),
      isVariadic: list.includes('*'),
      defaults: Number(defaults ?? 0),
      isSet: set !== undefined,
      kind: kind === ' agg' ? 'aggregate' : kind === ' win' ? 'window' : 'function',
      isStrict: lax === undefined,
      only: only === undefined ? 0 : (Number(only) as 15 | 18),
    };
    const same = read.get(name);
    if (same === undefined) read.set(name, [signature]);
    else same.push(signature);
  }
  return read;
}

/** `name left right result`; left is `-` for a prefix operator. */
function readOperators(): Map<string, Signature[]> {
  const read = new Map<string, Signature[]>();
  for (const line of OPERATOR_LIST.split('\n')) {
    const [name, left, right, result] = line.split(' ');
    if (name === undefined || left === undefined || right === undefined || result === undefined) continue;
    const signature: Signature = {
      name,
      text: left === '-' ? `${name} ${right}` : `${left} ${name} ${right}`,
      parameters: (left === '-' ? [right] : [left, right]).map(typeOid),
      result: typeOid(result),
      isVariadic: false,
      defaults: 0,
      isSet: false,
      kind: 'function',
      isStrict: true,
    };
    const same = read.get(name);
    if (same === undefined) read.set(name, [signature]);
    else same.push(signature);
  }
  return read;
}

/** Implicit casts of pg_cast between types that are worked with here, as `source>target`. */
export const IMPLICIT_CASTS: ReadonlySet<string> = new Set(
  [
    'int2>int4 int8 numeric float4 float8 oid',
    'int4>int8 numeric float4 float8 oid',
    'int8>numeric float4 float8 oid',
    'numeric>float4 float8',
    'float4>float8',
    'text>bpchar varchar name regclass',
    'varchar>text bpchar name regclass',
    'bpchar>text varchar name',
    'name>text',
    'char>text',
    'date>timestamp timestamptz',
    'time>interval timetz',
    'timestamp>timestamptz',
    'cidr>inet',
    'bit>varbit',
    'varbit>bit',
    'macaddr>macaddr8',
    'macaddr8>macaddr',
  ].flatMap((line) => {
    const [source, targets] = line.split('>') as [string, string];
    return targets.split(' ').map((target) => `${typeOid(source)}>${typeOid(target)}`);
  }),
);
