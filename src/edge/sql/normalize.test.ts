import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { normalize } from './normalize.ts';

/** Template with marks written as ‹kind›, and the constants; null when nothing was taken apart. */
function check(text: string, template: string, literals: readonly string[]): void {
  const normalized = normalize(text, '');
  expect([normalized.template.replace(/\u0001(.)/g, '‹$1›'), normalized.literals]).toEqual([template, [...literals]]);
}

/** A text that is left as it is, because the scanner is not sure of it. */
function checkWhole(text: string): void {
  check(text, text, []);
  expect(normalize(text, '').end).toBe(-1);
}

test('constants are lifted, names and parameters with digits are not', () => {
  check('SELECT a1 FROM t_2 WHERE x = 3 AND y = $4', 'SELECT a1 FROM t_2 WHERE x = ‹i› AND y = $4', ['3']);
  check("SELECT 'it''s' WHERE \"a'1\" = 'x'", 'SELECT ‹s› WHERE "a\'1" = ‹s›', ["it's", 'x']);
  check('SELECT é1 + 2, a$1', 'SELECT é1 + ‹i›, a$1', ['2']);
});

test('the kind of a number is the type Postgres gives it', () => {
  check('2147483647', '‹i›', ['2147483647']);
  check('2147483648', '‹m›', ['2147483648']);
  check('2147483649', '‹l›', ['2147483649']);
  check('9223372036854775807', '‹l›', ['9223372036854775807']);
  check('9223372036854775808', '‹o›', ['9223372036854775808']);
  check('9223372036854775809', '‹n›', ['9223372036854775809']);
  check('00000000000000000001', '‹i›', ['00000000000000000001']);
  check('1.5, .5, 1., 1e3, 1.5E-3', '‹d›, ‹d›, ‹d›, ‹d›, ‹d›', ['1.5', '.5', '1.', '1e3', '1.5E-3']);
});

test('a sign stays in the template', () => {
  check('x = -5', 'x = -‹i›', ['5']);
});

test('one semicolon at the end ends the statement', () => {
  check('SELECT 1 ; ', 'SELECT ‹i› ; ', ['1']);
  expect(normalize('SELECT 1 ; ', '').end).toBe(9);
  expect(normalize('SELECT 1', '').end).toBe(8);
});

test('what has rules of its own is left whole', () => {
  for (const text of [
    "SELECT E'a\\'b' || '1'",
    "SELECT U&'1'",
    "SELECT B'1'",
    "SELECT x'1f'",
    'SELECT $$ 1 $$',
    'SELECT $a$ 1 $a$',
    'SELECT 1 -- 2',
    'SELECT 1 /* 2 */',
    "SELECT 'a'\n'b'",
    'SELECT 0x1F',
    'SELECT 1_000',
    'SELECT 1a',
    'SELECT 1..2',
    'SELECT 1e',
    'SELECT 1; SELECT 2',
    "SELECT 'open",
    'SELECT "open',
    'SELECT $1a',
    'SELECT \u0001',
  ]) {
    checkWhole(text);
  }
});

test('a template with its constants put back is the text', () => {
  const piece = fc.constantFrom(
    'SELECT',
    ' ',
    'a1',
    '"q"',
    "'x'",
    "'it''s'",
    '12',
    '1.5',
    '$1',
    ',',
    '-',
    '=',
    '(',
    ')',
    "''",
    ';',
    '.',
    'é',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      const text = pieces.join('');
      const { template, literals, starts } = normalize(text, '');
      let index = 0;
      const back = template.replace(/\u0001(.)/g, (_, kind) => {
        const literal = literals[index] as string;
        index += 1;
        return kind === 's' ? `'${literal.replaceAll("'", "''")}'` : literal;
      });
      expect(back).toBe(text);
      expect(index).toBe(literals.length);
      for (const [at, start] of starts.entries())
        expect(text.slice(start)).toStartWith(
          back.slice(start, start + 1) && text[start] === "'" ? "'" : (literals[at] as string),
        );
    }),
  );
});
