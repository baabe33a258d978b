// LIKE and regular expressions. With a constant or a parameter, LIKE becomes GLOB (operators.ts), which can use an index.

import type { Draft, Expression } from '../expression.ts';
import { Forward } from '../forward.ts';
import { firstMatch, isLike, matches, replaceMatches, translateRegex } from '../regex.ts';
import type { Family, Proof } from './proof.ts';

/** A pattern that Postgres would refuse is an error if there is a row. */
function unlessReadable(constants: readonly (string | null)[]): boolean {
  const pattern = constants[1] ?? null;
  return pattern === null || translateRegex(pattern) === null;
}

/** A constant that will never do is not tried with every row. */
function readable(operands: readonly Expression[], draft: Draft): void {
  const constant = operands[1]?.constant ?? null;
  if (constant !== null && translateRegex(draft.bake(constant)) === null) {
    throw new Forward('unproven-operator', 'a pattern that is not known to mean the same here');
  }
}

function simple(operands: readonly Expression[], draft: Draft): void {
  readable(operands, draft);
  const constant = operands[1]?.constant ?? null;
  if (constant !== null && translateRegex(constant.text)?.isSimple !== true) {
    throw new Forward('unproven-function', 'a pattern with several ways to match');
  }
}

const operators: readonly Proof[] = (['text', 'bpchar', 'name'] as const).flatMap((type): Proof[] =>
  (
    [
      ['~', false, false],
      ['!~', false, true],
      ['~*', true, false],
      ['!~*', true, true],
    ] as const
  ).map(([name, isCaseless, isNegated]) => ({
    of: `${type} ${name} text`,
    js: (text: string, pattern: string) => matches(text, pattern, isCaseless) !== isNegated,
    check: readable,
    raises: unlessReadable,
    collation: isCaseless ? 'ascii' : 'bytes',
  })),
);

const likes: readonly Proof[] = (
  [
    ['~~', false, false],
    ['!~~', false, true],
    ['~~*', true, false],
    ['!~~*', true, true],
  ] as const
).map(([name, isCaseless, isNegated]) => ({
  of: `text ${name} text`,
  js: (text: string, pattern: string) => isLike(text, pattern, isCaseless) !== isNegated,
  raises: true,
  collation: isCaseless ? 'ascii' : 'bytes',
}));

export const PATTERNS: Family = {
  title: 'Patterns',
  rows: [
    ...likes,
    ...operators,
    {
      of: 'regexp_replace(text,text,text)',
      js: (text: string, pattern: string, by: string) => replaceMatches(text, pattern, by, ''),
      check: simple,
      raises: unlessReadable,
      collation: 'bytes',
    },
    {
      of: 'regexp_replace(text,text,text,text)',
      js: replaceMatches,
      raises: unlessReadable,
      check: (operands, draft) => {
        simple(operands, draft);
        const flags = operands[3]?.constant ?? null;
        if (flags === null || !/^g*$/.test(draft.bake(flags)))
          throw new Forward('unproven-function', 'flags of a regular expression');
      },
      collation: 'bytes',
    },
    { of: 'substring(text,text)', js: firstMatch, check: simple, raises: unlessReadable, collation: 'bytes' },
    {
      of: 'regexp_like(text,text)',
      js: (text: string, pattern: string) => matches(text, pattern, false),
      check: readable,
      raises: unlessReadable,
      collation: 'bytes',
    },
  ],
};
