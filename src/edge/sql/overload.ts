// Which function or operator of several of a name Postgres would call: its own rules (parse_func.c, parse_oper.c) over its own
// catalogue (signatures.ts). An untyped constant is `unknown` here.

import { builtinType, OID } from '../../pg/oid.ts';
import type { Catalogue } from '../../replica/catalogue.ts';
import { Forward } from './forward.ts';
import { IMPLICIT_CASTS, type Signature, functionsOf, operatorsOf } from './signatures.ts';

/** A choice made: what each argument has to become, and what comes back. */
export interface Chosen {
  readonly signature: Signature;
  /** Types of the arguments, polymorphic ones resolved; longer than the signature's own for VARIADIC. */
  readonly types: readonly number[];
  readonly result: number;
}

const ANY = 2276;
const ANYELEMENT = 2283;
const ANYARRAY = 2277;
const ANYNONARRAY = 2776;
const ANYENUM = 3500;
const ANYRANGE = 3831;
const ANYMULTIRANGE = 4537;
const ANYCOMPATIBLE = 5077;
const ANYCOMPATIBLEARRAY = 5078;
const ANYCOMPATIBLENONARRAY = 5079;
const ANYCOMPATIBLERANGE = 5080;
const ANYCOMPATIBLEMULTIRANGE = 4538;

const POLYMORPHIC = new Set<number>([
  ANYELEMENT,
  ANYARRAY,
  ANYNONARRAY,
  ANYENUM,
  ANYRANGE,
  ANYMULTIRANGE,
  ANYCOMPATIBLE,
  ANYCOMPATIBLEARRAY,
  ANYCOMPATIBLENONARRAY,
  ANYCOMPATIBLERANGE,
  ANYCOMPATIBLEMULTIRANGE,
]);

export function isPolymorphic(typeOid: number): boolean {
  return POLYMORPHIC.has(typeOid) || typeOid === ANY;
}

/** Types that Postgres prefers within their category (pg_type.typispreferred). */
const PREFERRED = new Set<number>([
  OID.bool,
  OID.text,
  OID.oid,
  OID.float8,
  OID.inet,
  OID.timestamptz,
  OID.interval,
  OID.varbit,
]);

export function isPreferred(typeOid: number): boolean {
  return PREFERRED.has(typeOid);
}

export function categoryOf(typeOid: number, catalogue: Catalogue): string {
  return builtinType(typeOid)?.category ?? catalogue.type(typeOid)?.category ?? 'X';
}

export function elementOf(typeOid: number, catalogue: Catalogue): number {
  const resolved = catalogue.resolveType(typeOid);
  return resolved?.isArray === true ? resolved.elementOid : 0;
}

/** The array type over a type; 0 when there is none here. */
export function arrayTypeOf(typeOid: number, catalogue: Catalogue): number {
  return builtinType(typeOid)?.arrayOid ?? catalogue.type(typeOid)?.arrayOid ?? 0;
}

/** Subtype of each built-in range type. */
export const RANGE_SUBTYPES: ReadonlyMap<number, number> = new Map([
  [3904, OID.int4],
  [3906, OID.numeric],
  [3908, OID.timestamp],
  [3910, OID.timestamptz],
  [3912, OID.date],
  [3926, OID.int8],
]);

/** can_coerce_type() in implicit context, for one argument. */
export function isCoercible(from: number, to: number, catalogue: Catalogue): boolean {
  if (from === to || from === OID.unknown || to === ANY) return true;
  if (POLYMORPHIC.has(to)) return isConsistent(from, to, catalogue);
  if (IMPLICIT_CASTS.has(`${from}>${to}`)) return true;
  const a = elementOf(from, catalogue);
  const b = elementOf(to, catalogue);
  return a !== 0 && b !== 0 && IMPLICIT_CASTS.has(`${a}>${b}`);
}

function isConsistent(from: number, to: number, catalogue: Catalogue): boolean {
  switch (to) {
    case ANYARRAY:
    case ANYCOMPATIBLEARRAY:
      return elementOf(from, catalogue) !== 0;
    case ANYNONARRAY:
    case ANYCOMPATIBLENONARRAY:
      return elementOf(from, catalogue) === 0;
    case ANYENUM:
      return catalogue.type(from)?.kind === 'e';
    case ANYRANGE:
    case ANYCOMPATIBLERANGE:
      return categoryOf(from, catalogue) === 'R' && !isMultirange(from);
    case ANYMULTIRANGE:
    case ANYCOMPATIBLEMULTIRANGE:
      return isMultirange(from);
    default:
      return true;
  }
}

function isMultirange(typeOid: number): boolean {
  return builtinType(typeOid)?.kind === 'm';
}

interface Candidate {
  readonly signature: Signature;
  /** As many as there are arguments. */
  readonly types: readonly number[];
}

/** The function that `name(types)` calls. Throws Forward when there is none or Postgres would not know which. */
export function chooseFunction(name: string, types: readonly number[], catalogue: Catalogue): Chosen {
  const known = functionsOf(name, catalogue.server.serverVersion);
  if (known === null) throw new Forward('unproven-function', name);
  const candidates: Candidate[] = [];
  for (const signature of known) {
    const { parameters } = signature;
    if (signature.isVariadic) {
      if (types.length < parameters.length - 1) continue;
      const last = parameters[parameters.length - 1] as number;
      const element =
        last === ANY
          ? ANY
          : last === ANYCOMPATIBLEARRAY
            ? ANYCOMPATIBLE
            : last === ANYARRAY
              ? ANYELEMENT
              : elementOf(last, catalogue);
      const head = parameters.slice(0, -1);
      const rest = Array.from({ length: types.length - head.length }, () => element);
      // VARIADIC takes one at least.
      if (rest.length > 0) candidates.push({ signature, types: [...head, ...rest] });
      continue;
    }
    if (types.length > parameters.length || types.length < parameters.length - signature.defaults) continue;
    candidates.push({ signature, types: parameters.slice(0, types.length) });
  }
  const chosen = choose(candidates, types, catalogue);
  if (chosen === null) throw new Forward('unproven-function', `${name}(${types.join()})`);
  return resolved(chosen, types, catalogue);
}

/** The operator `left name right`; `left` null for a prefix operator. */
export function chooseOperator(name: string, left: number | null, right: number, catalogue: Catalogue): Chosen {
  const types = left === null ? [right] : [left, right];
  const candidates = operatorsOf(name, types.length).map(
    (signature): Candidate => ({ signature, types: signature.parameters }),
  );
  if (left !== null) {
    // An untyped operand is taken for the other's type first.
    const guess = left === OID.unknown ? [right, right] : right === OID.unknown ? [left, left] : types;
    const exact = candidates.find((candidate) => candidate.types.every((type, index) => type === guess[index]));
    if (exact !== undefined) return resolved(exact, types, catalogue);
  }
  const chosen = choose(candidates, types, catalogue);
  if (chosen === null) throw new Forward('unproven-operator', `${name} of types ${types.join()}`);
  return resolved(chosen, types, catalogue);
}

function choose(all: readonly Candidate[], types: readonly number[], catalogue: Catalogue): Candidate | null {
  const exact = all.find((candidate) => candidate.types.every((type, index) => type === types[index]));
  if (exact !== undefined) return exact;
  let candidates = all.filter((candidate) => accepts(candidate, types, catalogue));
  if (candidates.length <= 1) return candidates[0] ?? null;
  // func_select_candidate().
  const isUnknown = types.map((type) => type === OID.unknown);
  const most = (score: (candidate: Candidate) => number): void => {
    const scores = candidates.map(score);
    const best = Math.max(...scores);
    candidates = candidates.filter((_, index) => scores[index] === best);
  };
  most((candidate) => candidate.types.filter((type, index) => type === types[index]).length);
  if (candidates.length === 1) return candidates[0] as Candidate;
  const categories = types.map((type) => categoryOf(type, catalogue));
  const isPreferredIn = (type: number, wanted: string): boolean =>
    PREFERRED.has(type) && categoryOf(type, catalogue) === wanted;
  most(
    (candidate) =>
      candidate.types.filter(
        (type, index) =>
          !isUnknown[index] && (type === types[index] || isPreferredIn(type, categories[index] as string)),
      ).length,
  );
  if (candidates.length === 1) return candidates[0] as Candidate;
  if (!isUnknown.includes(true)) return null;
  const wanted: { category: string; hasPreferred: boolean }[] = [];
  let isResolved = true;
  for (const [index, unknown] of isUnknown.entries()) {
    if (!unknown) continue;
    const slot = { category: '', hasPreferred: false };
    let hasConflict = false;
    for (const candidate of candidates) {
      const type = candidate.types[index] as number;
      const own = categoryOf(type, catalogue);
      if (slot.category === '' || (own !== slot.category && own === 'S')) {
        slot.category = own;
        slot.hasPreferred = PREFERRED.has(type);
      } else if (own === slot.category) {
        slot.hasPreferred ||= PREFERRED.has(type);
      } else {
        hasConflict = true;
      }
    }
    if (hasConflict && slot.category !== 'S') {
      isResolved = false;
      break;
    }
    wanted[index] = slot;
  }
  if (isResolved) {
    const kept = candidates.filter((candidate) =>
      candidate.types.every((type, index) => {
        const slot = wanted[index];
        return (
          slot === undefined ||
          (categoryOf(type, catalogue) === slot.category && (!slot.hasPreferred || PREFERRED.has(type)))
        );
      }),
    );
    if (kept.length > 0) candidates = kept;
    if (candidates.length === 1) return candidates[0] as Candidate;
  }
  // If all typed arguments are of one type, take the untyped for it.
  const known = new Set(types.filter((_, index) => !isUnknown[index]));
  if (known.size !== 1) return null;
  const only = [...known][0] as number;
  const same = types.map(() => only);
  const fitting = candidates.filter((candidate) => accepts(candidate, same, catalogue));
  return fitting.length === 1 ? (fitting[0] as Candidate) : null;
}

/** can_coerce_type() for all arguments, with what polymorphic ones have to have in common. */
function accepts(candidate: Candidate, types: readonly number[], catalogue: Catalogue): boolean {
  if (!candidate.types.every((type, index) => isCoercible(types[index] as number, type, catalogue))) return false;
  let element = 0;
  let array = 0;
  let range = 0;
  /** What anycompatible and the elements of its arrays have to have in common. */
  const compatible: number[] = [];
  for (const [index, type] of candidate.types.entries()) {
    const own = types[index] as number;
    if (own === OID.unknown) continue;
    if (type === ANYCOMPATIBLE || type === ANYCOMPATIBLENONARRAY) compatible.push(own);
    else if (type === ANYCOMPATIBLEARRAY) compatible.push(elementOf(own, catalogue));
    if (type === ANYELEMENT || type === ANYNONARRAY || type === ANYENUM) {
      if (element !== 0 && element !== own) return false;
      element = own;
    } else if (type === ANYARRAY) {
      if (array !== 0 && array !== own) return false;
      array = own;
    } else if (type === ANYRANGE) {
      if (range !== 0 && range !== own) return false;
      range = own;
    }
  }
  if (new Set(compatible.map((own) => categoryOf(own, catalogue))).size > 1) return false;
  if (element === 0) return true;
  if (array !== 0 && elementOf(array, catalogue) !== element) return false;
  return range === 0 || RANGE_SUBTYPES.get(range) === element;
}

/** Puts types in place of the polymorphic ones. */
function resolved({ signature, types }: Candidate, given: readonly number[], catalogue: Catalogue): Chosen {
  if (![...types, signature.result].some((type) => POLYMORPHIC.has(type)))
    return { signature, types, result: signature.result };
  const refuse = (): never => {
    throw new Forward('unproven-type', `${signature.name} of these types`);
  };
  let element = 0;
  let array = 0;
  let range = 0;
  let common = 0;
  const meet = (type: number): void => {
    if (common === 0 || common === type) common = type;
    else if (!PREFERRED.has(common) && isCoercible(common, type, catalogue) && !isCoercible(type, common, catalogue))
      common = type;
    else if (!isCoercible(type, common, catalogue)) refuse();
  };
  for (const [index, type] of types.entries()) {
    const own = given[index] as number;
    if (own === OID.unknown) continue;
    const base = catalogue.resolveType(own)?.oid ?? own;
    switch (type) {
      case ANYELEMENT:
      case ANYNONARRAY:
      case ANYENUM:
        if (element !== 0 && element !== base) refuse();
        element = base;
        break;
      case ANYARRAY:
        if (array !== 0 && array !== base) refuse();
        array = base;
        break;
      case ANYRANGE:
        if (range !== 0 && range !== base) refuse();
        range = base;
        break;
      case ANYCOMPATIBLE:
      case ANYCOMPATIBLENONARRAY:
        meet(base);
        break;
      case ANYCOMPATIBLEARRAY:
        meet(elementOf(base, catalogue));
        break;
      default:
        if (POLYMORPHIC.has(type)) refuse();
    }
  }
  if (array !== 0) {
    const own = elementOf(array, catalogue);
    if (element !== 0 && element !== own) refuse();
    element = own;
  }
  if (range !== 0) {
    const own = RANGE_SUBTYPES.get(range) ?? refuse();
    if (element !== 0 && element !== own) refuse();
    element = own;
  }
  if (common === 0 && types.some((type) => type === ANYCOMPATIBLE || type === ANYCOMPATIBLEARRAY)) common = OID.text;
  const put = (type: number): number => {
    switch (type) {
      case ANYELEMENT:
      case ANYNONARRAY:
      case ANYENUM:
        return element === 0 ? refuse() : element;
      case ANYARRAY:
        return array !== 0 ? array : element === 0 ? refuse() : arrayTypeOf(element, catalogue) || refuse();
      case ANYRANGE:
        return range === 0 ? refuse() : range;
      case ANYCOMPATIBLE:
      case ANYCOMPATIBLENONARRAY:
        return common;
      case ANYCOMPATIBLEARRAY:
        return arrayTypeOf(common, catalogue) || refuse();
      default:
        return POLYMORPHIC.has(type) ? refuse() : type;
    }
  };
  return { signature, types: types.map(put), result: put(signature.result) };
}
