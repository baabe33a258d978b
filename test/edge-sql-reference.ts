// The page docs/reference/edge-sql.md, from the rows of what is proven. reference.test.ts keeps the page true.

import { FAMILIES } from '../src/edge/sql/proofs/index.ts';
import { NEED_OUTPUT_DEFAULTS } from '../src/edge/sql/plan.ts';
import type { Proof } from '../src/edge/sql/proofs/proof.ts';

const INTRODUCTION = `# What an edge answers itself

Made from the table of what is proven equal (\`src/edge/sql/proofs\`). Each row is compared with real servers (15 and 18) for every
combination of awkward values of its types: NULLs, ends of ranges, NaN and infinities, dates before Christ, characters beyond the
BMP. Everything that is not on this page is forwarded to the core, which is never wrong and only slower: \`SHOW skerry.answered_by\`
tells where the last answer came from.

Types are named as in \`pg_type\`; \`_int4\` is \`int4[]\`, \`anyelement\` and the like stand for any type that fits. \`varchar\` is taken
wherever \`text\` is. Which function of several of a name is meant is decided by PostgreSQL's own rules.

| mark | meaning |
|---|---|
| ¹ | May be an error in PostgreSQL (division by zero, out of range …). Answered where it is computed for exactly the rows of the answer: in a SELECT list or ORDER BY without LIMIT. In WHERE it depends on PostgreSQL's plan which rows are looked at; there a condition on one table is tried with every row of that table first, unless another condition could use an index: then it is forwarded. When it does fail, the core is asked, and the error is its own. |
| ² | As ¹, unless a constant operand rules the error out (\`split_part(t, ',', 1)\`, \`mod(n, 7)\`, \`extract(year FROM d)\`). |
| ³ | Needs a session in UTC. |
| ⁶ | Needs \`quote_all_identifiers\` off, as it is by default. |
| ⁴ | Needs a deterministic collation. |
| ⁵ | Needs the collation "C", or letters that change case as in ASCII; texts with other letters are forwarded. |
`;

const REST = `## Comparisons

\`=\` \`<>\` \`<\` \`<=\` \`>\` \`>=\`, \`IS [NOT] DISTINCT FROM\`, \`BETWEEN [SYMMETRIC]\`, \`IN\`, \`ANY\`, \`ALL\`, \`NULLIF\`, \`CASE\`, \`GREATEST\`, \`LEAST\`
of: integers, floats, numeric, text, varchar, char(n), name, bool, bytea, uuid, date, time, timetz, timestamp, timestamptz, interval,
inet, cidr, macaddr, pg_lsn, bit, varbit and enums. Dates and timestamps meet each other, numbers too. \`jsonb\`, ranges and arrays of
types whose values are equal exactly when they print the same compare for equality. Texts are ordered where the collation is bytes.

## Arithmetic

\`+\` \`-\` \`*\` \`/\` \`%\` of integers and numerics, exact and with as many digits as PostgreSQL prints ¹.

## Casts

Beside the rows above: any type to \`text\` and \`varchar\`; \`text\` to any type that constants are read of ¹; \`numeric(p, s)\` ¹,
\`varchar(n)\`, \`char(n)\`, \`varbit(n)\`, \`time(n)\`, \`timestamp(n)\`, \`timestamptz(n)\`.

## Aggregates

| | |
|---|---|
| \`count\`, \`bool_and\`, \`bool_or\`, \`every\`, \`bit_and\`, \`bit_or\` | of all types they take; \`count(DISTINCT …)\` of types that compare |
| \`sum\`, \`avg\` | of integers and numeric; of floats they depend on the order of the rows |
| \`min\`, \`max\` | of numbers, dates, times and texts ordered by bytes; of numeric with a declared scale |
| \`variance\`, \`var_samp\`, \`var_pop\`, \`stddev\`, \`stddev_samp\`, \`stddev_pop\` | of integers and numeric |
| \`string_agg\`, \`array_agg\`, \`json_agg\`, \`jsonb_agg\`, \`json_object_agg\`, \`jsonb_object_agg\` | with an ORDER BY that leaves nothing open: by the value itself, or by the primary key of the only table; \`DISTINCT\` of texts |

\`FILTER\` and \`GROUP BY\` with all of them.

## Values as JSON

\`to_json\`, \`to_jsonb\`, \`json_build_object\`, \`jsonb_build_object\`, \`json_build_array\`, \`jsonb_build_array\` of all but composite values.

## Arrays and jsonb in brackets

\`ARRAY[a, b]\`, \`array[i]\`, \`array[i:j]\`, \`jsonb['key']\`.

## Patterns

\`LIKE\`, \`ILIKE\` (\`ESCAPE\` too), \`SIMILAR TO\`, \`~\` and \`~*\`. A regular expression is answered here when it means the same in
both engines: no back references, no look-around, no embedded options, no repetition of repetitions; classes like \`\\w\` for texts of
ASCII. Where the match itself is given back (\`regexp_replace\`, \`substring … from\`), only patterns that can match in one way.

## Never here

- \`now()\`, \`current_timestamp\`, \`current_date\`, \`'today'\` …: the time of a transaction is the core's, and a PoP's clock is another one.
- \`random()\`, \`nextval()\` and everything else that is volatile; functions of the database's own; the system catalogue.
- \`AT TIME ZONE\` with other zones than UTC: which release of the zones' rules a server has is not known.
- Functions of floats whose last digit is the C library's: \`exp\`, \`ln\`, \`power\`, \`sin\` …
`;

function marks({ raises, needs, collation }: Proof): string {
  const found = [
    raises === true ? '¹' : typeof raises === 'function' ? '²' : '',
    needs === undefined ? '' : needs === NEED_OUTPUT_DEFAULTS ? '⁶' : '³',
    collation === 'bytes' ? '⁴' : collation === undefined ? '' : '⁵',
  ].join('');
  return found === '' ? '' : ` ${found}`;
}

function shown({ of }: Proof): string {
  const text = of.replace(/,/g, ', ').replace('*', 'VARIADIC ');
  return text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``;
}

export function edgeSqlPage(): string {
  const families = FAMILIES.map(({ title, rows }) => {
    const items = rows.map((row) => `- ${shown(row)}${marks(row)}`);
    return `## ${title}\n\n${items.join('\n')}\n`;
  });
  return `${INTRODUCTION}\n${families.join('\n')}\n${REST}`;
}
