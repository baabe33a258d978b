// Every row of what is proven, with every combination of awkward values of its types (or a few thousand of them), computed by
// SQLite and by real Postgres servers. Where Postgres raises an error, SQLite must fail, and the row must say so.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { needs, startPostgres, type TestPostgres } from '../../../../test/harness.ts';
import { connectRaw, type RawClient } from '../../../../test/pg-client.ts';
import { POLYMORPHIC_TYPES, SAMPLES, SAMPLES_OF } from '../../../../test/proof-samples.ts';
import { builtinType, builtinTypeByName } from '../../../pg/oid.ts';
import { Catalogue } from '../../../replica/catalogue.ts';
import { Sqlite, type SqliteValue } from '../../../replica/sqlite.ts';
import { sqlLiteral } from '../../../replica/values.ts';
import { storeText } from '../forms.ts';
import { registerFunctions } from '../functions.ts';
import { proofSql } from '../applied.ts';
import { chooseFunction, chooseOperator } from '../overload.ts';
import { readText } from '../read.ts';
import { functionsOf, type Signature } from '../signatures.ts';
import { typeFacts } from '../types.ts';
import { FAMILIES, signatureOf } from './index.ts';
import type { Proof } from './proof.ts';

/** Combinations tried of one row and one choice of types; PROOF_COMBINATIONS=10000 for a long look. */
const COMBINATIONS_MAX = Number(process.env['PROOF_COMBINATIONS'] ?? 200);

/** Server functions of a batch are called at once. */
const BATCH = 300;

const ATTEMPT = `CREATE FUNCTION attempt(expressions text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE e text; r text;
BEGIN
  FOREACH e IN ARRAY expressions LOOP
    BEGIN
      EXECUTE 'SELECT CASE WHEN (x) IS NULL THEN NULL ELSE ''v'' || format(''%s'', x) END FROM (SELECT ' || e || ' AS x) AS s' INTO r;
      RETURN NEXT r;
    EXCEPTION WHEN OTHERS THEN
      RETURN NEXT 'e' || SQLSTATE || ' ' || SQLERRM;
    END;
  END LOOP;
END $$`;

const CATALOGUE = new Catalogue({
  version: 1,
  serverVersion: 150_000,
  serverVersionText: '15',
  database: '',
  defaultCollationIsC: true,
  settings: {},
  tables: [],
  types: [],
});

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Errors of too little memory are no part of what is proven. */
const isResource = (answer: string): boolean => answer.startsWith('e54') || answer.startsWith('e53');

for (const version of ['15', '18'] as const) {
  if (!needs(`postgres-${version}`)) continue;
  describe(`Postgres ${version}`, () => {
    let postgres: TestPostgres;
    let client: RawClient;
    const sqlite = new Sqlite(':memory:', { mode: 'create' });
    /** Printed forms of the samples. */
    const printed = new Map<string, readonly string[]>();

    beforeAll(async () => {
      registerFunctions(sqlite);
      postgres = await startPostgres({ version });
      await postgres.sql(`CREATE DATABASE bytes TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'`);
      await postgres.sql(ATTEMPT, 'bytes');
      client = await connectRaw({ ...postgres, database: 'bytes' } as TestPostgres);
    }, 60_000);

    afterAll(async () => {
      sqlite.close();
      await client?.[Symbol.asyncDispose]();
      await postgres?.[Symbol.asyncDispose]();
    });

    const ask = async (expressions: readonly string[]): Promise<(string | null)[]> => {
      const answers: (string | null)[] = [];
      for (let at = 0; at < expressions.length; at += BATCH) {
        const rows = await client.texts('SELECT attempt($1::text[])', [expressions.slice(at, at + BATCH)]);
        answers.push(...rows.map((row) => row[0] ?? null));
      }
      return answers;
    };

    const samplesOf = async (type: string, own: readonly string[] | null | undefined): Promise<readonly string[]> => {
      if (own !== null && own !== undefined) return own;
      const known = printed.get(type);
      if (known !== undefined) return known;
      const texts = SAMPLES[type];
      if (texts === undefined) throw new Error(`no samples of ${type}`);
      const answers = await ask(texts.map((text) => `${quote(text)}::${sqlType(type)}`));
      const values = answers
        .filter((answer) => answer?.startsWith('v') === true)
        .map((answer) => (answer as string).slice(1));
      printed.set(type, values);
      return values;
    };

    for (const { title, rows } of FAMILIES) {
      for (const row of rows) {
        const own = signatureOf(row.of);
        const isThere =
          own === undefined ||
          own.name === '' ||
          !/^\w+\(/.test(own.text) ||
          functionsOf(own.name, Number(version) * 10_000)?.includes(own) === true;
        if ((row.since ?? 0) > Number(version) || !isThere) continue;
        test(`${title}: ${row.of}`, async () => {
          const signature = signatureOf(row.of);
          if (signature === undefined) throw new Error(`${row.of} is no signature`);
          let proven = 0;
          for (const types of choices(signature, row.hasPrintedElements === true)) {
            await requireChosen(row.of, signature, types);
            const values = await Promise.all(
              types.map((type, index) =>
                samplesOf(type, SAMPLES_OF[row.of]?.[Math.min(index, signature.parameters.length - 1)]),
              ),
            );
            const combinations = combine(values.map((each) => [...each, null]));
            const answers = await ask(combinations.map((each) => expressionOf(row.of, types, each)));
            for (const [index, combination] of combinations.entries()) {
              const answer = answers[index] ?? null;
              const mine = compute(row, signature, types, combination);
              const context = `${expressionOf(row.of, types, combination)}`;
              if (answer?.startsWith('e') === true) {
                if (isResource(answer)) continue;
                if (!mine.startsWith('error')) throw new Error(`${context}: the core says ${answer}, here ${mine}`);
                const raises = typeof row.raises === 'function' ? row.raises(combination) : row.raises === true;
                if (!raises)
                  throw new Error(`${context}: the core says ${answer}, and the row does not say that it may`);
                continue;
              }
              if (mine.startsWith('error')) continue;
              if (row.isTotal === true && mine.startsWith('error')) throw new Error(`${context}: ${mine}`);
              expect(`${context} = ${mine}`).toBe(`${context} = ${answer === null ? 'NULL' : answer.slice(1)}`);
              if (answer !== null) proven += 1;
            }
          }
          // A row that only ever fails proves nothing.
          expect(proven).toBeGreaterThan(0);
        }, 600_000);
      }
    }

    /** What Postgres chooses for these types is this row, and of the type that the row says. */
    async function requireChosen(of: string, signature: Signature, types: readonly string[]): Promise<void> {
      const nulls = expressionOf(
        of,
        types,
        types.map(() => null),
      );
      const [answer] = await client.texts(`SELECT pg_typeof(${nulls})`);
      const told: Readonly<Record<string, string>> = {
        'timestamp without time zone': 'timestamp',
        'timestamp with time zone': 'timestamptz',
        'time without time zone': 'time',
        'time with time zone': 'timetz',
        'character varying': 'varchar',
        'bit varying': 'varbit',
        'double precision': 'float8',
        real: 'float4',
        integer: 'int4',
        bigint: 'int8',
        smallint: 'int2',
        boolean: 'bool',
        bit: 'bit',
      };
      const type = answer?.[0] ?? '';
      const element = type.replace('[]', '');
      const name = `${type.endsWith('[]') ? '_' : ''}${told[element] ?? element}`;
      expect(`${nulls}: ${name}`).toBe(`${nulls}: ${resultOf(signature, types)}`);
      if (of.includes('::')) return;
      const oids = types.map(oidOf);
      const isCall = /^\w+\(/.test(of);
      const server = new Catalogue({ ...CATALOGUE.image(), serverVersion: Number(version) * 10_000 });
      const operator = of.split(' ').find((part) => !/^\w+$/.test(part)) ?? '';
      const chosen = isCall
        ? chooseFunction(signature.name, oids, server)
        : chooseOperator(
            operator,
            oids.length === 2 ? (oids[0] as number) : null,
            oids[oids.length - 1] as number,
            server,
          );
      expect(chosen.signature.text).toBe(of);
      expect(chosen.result).toBe(oidOf(resultOf(signature, types)));
    }

    function compute(
      row: Proof,
      signature: Signature,
      types: readonly string[],
      values: readonly (string | null)[],
    ): string {
      const operands = types.map((type, index) => {
        const oid = oidOf(type);
        const value = values[index] ?? null;
        return { facts: typeFacts(oid, CATALOGUE), sql: sqlLiteral(value === null ? null : storeText(oid, value)) };
      });
      const result = resultOf(signature, types);
      const facts = typeFacts(oidOf(result), CATALOGUE);
      const sql = proofSql(row, signature, operands, facts);
      let value: SqliteValue;
      try {
        value = sqlite.value(`SELECT ${result === 'int8' ? `CAST(${sql} AS TEXT)` : sql}`);
      } catch (error) {
        if (row.isTotal === true) throw error;
        return `error ${String(error)}`;
      }
      return value === null ? 'NULL' : readText(facts.reader, value);
    }
  });
}

function sqlType(type: string): string {
  if (type === 'bit') return 'bit varying::pg_catalog."bit"';
  if (type === 'char') return '"char"';
  return type.startsWith('_') ? `${type.slice(1)}[]` : type;
}

function oidOf(type: string): number {
  const found = builtinTypeByName(type);
  if (found === undefined) throw new Error(`no type ${type}`);
  return found.oid;
}

const ELEMENT = new Set([2276, 2283, 2776, 5077, 5079]);
const ARRAY = new Set([2277, 5078]);
const RANGE = new Set([3831, 5080]);

/** Type names for the parameters: each choice for what is polymorphic, one to three values for VARIADIC. */
function choices({ parameters, isVariadic }: Signature, isPrinted: boolean): string[][] {
  const lists = isVariadic
    ? [1, 2, 3].map((count) => [
        ...parameters.slice(0, -1),
        ...Array.from({ length: count }, () => parameters[parameters.length - 1] as number),
      ])
    : [parameters];
  const isPolymorphic = parameters.some((type) => ELEMENT.has(type) || ARRAY.has(type) || RANGE.has(type));
  const found: string[][] = [];
  for (const list of lists) {
    const turns = isPolymorphic
      ? POLYMORPHIC_TYPES.filter((type) => !isPrinted || !/^(?:numeric|float8)$/.test(type))
      : ['int4'];
    for (const [turn, element] of turns.entries()) {
      const types = list.map((type, index) => {
        if (type === 2276) return POLYMORPHIC_TYPES[(turn + index) % POLYMORPHIC_TYPES.length] as string;
        if (ELEMENT.has(type) && list.some((each) => RANGE.has(each)))
          return (['int4', 'numeric', 'date', 'timestamp'] as const)[turn % 4] as string;
        if (ELEMENT.has(type)) return element;
        if (ARRAY.has(type)) return `_${element}`;
        if (RANGE.has(type)) return (['int4range', 'numrange', 'daterange', 'tsrange'] as const)[turn % 4] as string;
        const name = builtinType(type)?.name as string;
        return isVariadic && index >= parameters.length - 1 ? name.slice(1) : name;
      });
      if (types.every((type) => SAMPLES[type] !== undefined)) found.push(types);
    }
  }
  return found;
}

function resultOf(signature: Signature, types: readonly string[]): string {
  const { result, parameters } = signature;
  if (ELEMENT.has(result)) {
    const at = parameters.findIndex((type) => ELEMENT.has(type) || ARRAY.has(type) || RANGE.has(type));
    const type = types[at] as string;
    const subtypes: Readonly<Record<string, string>> = {
      int4range: 'int4',
      numrange: 'numeric',
      daterange: 'date',
      tsrange: 'timestamp',
    };
    return type.startsWith('_') ? type.slice(1) : (subtypes[type] ?? type);
  }
  if (ARRAY.has(result)) {
    const at = parameters.findIndex((type) => ELEMENT.has(type) || ARRAY.has(type));
    const type = types[at] as string;
    return type.startsWith('_') ? type : `_${type}`;
  }
  if (RANGE.has(result)) return types[parameters.findIndex((type) => RANGE.has(type))] as string;
  return builtinType(result)?.name as string;
}

function combine(lists: readonly (readonly (string | null)[])[]): (string | null)[][] {
  const total = lists.reduce((product, list) => product * list.length, 1);
  const at = (number: number): (string | null)[] => {
    let rest = number;
    return lists.map((list) => {
      const value = list[rest % list.length] as string | null;
      rest = Math.floor(rest / list.length);
      return value;
    });
  };
  if (total <= COMBINATIONS_MAX) return Array.from({ length: total }, (_, index) => at(index));
  // A stride that is no factor of any length visits all parts of the space.
  return Array.from({ length: COMBINATIONS_MAX }, (_, index) => at(Math.floor((index * 7919 * 104_729) % total)));
}

function expressionOf(of: string, types: readonly string[], values: readonly (string | null)[]): string {
  const operands = types.map((type, index) => {
    const value = values[index] ?? null;
    const literal =
      value === null ? 'NULL' : value.includes('\\') ? ` E${quote(value.replaceAll('\\', '\\\\'))}` : quote(value);
    return `(${literal}::${sqlType(type)})`;
  });
  if (of.includes('::')) return `${operands[0]}::${sqlType(of.split('::')[1] as string)}`;
  const call = /^(\w+)\(/.exec(of);
  if (call !== null) return `pg_catalog.${call[1]}(${operands.join(', ')})`;
  const parts = of.split(' ');
  return parts.length === 3 ? `(${operands[0]} ${parts[1]} ${operands[1]})` : `(${parts[0]} ${operands[0]})`;
}
