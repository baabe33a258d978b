// A condition of a placement as SQLite's SQL over stored values. Both have three-valued logic; what has to be made equal are
// the values: types, collations, constants. Only where the comparison is known to be Postgres's own is a condition accepted.

import { Fault } from '../../base/fault.ts';
import { OID } from '../../pg/oid.ts';
import { numericKey } from '../../pg/types/numeric-key.ts';
import { orderedTemporal } from '../../pg/types/ordered-temporal.ts';
import type { Catalogue } from '../catalogue.ts';
import type { ColumnLayout, TableLayout } from '../layout.ts';
import { sqlLiteral } from '../values.ts';
import { type Comparison, type Condition, type Constant, invalidAt } from './syntax.ts';

/** SQL of a column's stored value, or of its hidden key where `form` is `key`. */
export type ColumnSql = (column: ColumnLayout, form: 'value' | 'key') => string;

/** Names of the columns that a condition looks at, each once. */
export function conditionColumns(condition: Condition): string[] {
  const names = new Set<string>();
  const visit = (node: Condition): void => {
    if ('parts' in node) {
      for (const part of node.parts) visit(part);
    } else if (node.kind === 'not') visit(node.part);
    else if (node.kind !== 'literal') names.add(node.column);
  };
  visit(condition);
  return [...names];
}

/** SQL that gives 1, 0 or NULL as Postgres gives true, false or null. `text` is what `condition` was read from, for messages. */
export function conditionSql(
  condition: Condition,
  text: string,
  layout: TableLayout,
  catalogue: Catalogue,
  columnSql: ColumnSql,
): string {
  return new Writer(text, layout, catalogue, columnSql).write(condition);
}

class Writer {
  readonly #text: string;
  readonly #layout: TableLayout;
  readonly #catalogue: Catalogue;
  readonly #columnSql: ColumnSql;

  constructor(text: string, layout: TableLayout, catalogue: Catalogue, columnSql: ColumnSql) {
    this.#text = text;
    this.#layout = layout;
    this.#catalogue = catalogue;
    this.#columnSql = columnSql;
  }

  write(node: Condition): string {
    switch (node.kind) {
      case 'and':
      case 'or':
        return `(${node.parts.map((part) => this.write(part)).join(node.kind === 'and' ? ' AND ' : ' OR ')})`;
      case 'not':
        return `(NOT ${this.write(node.part)})`;
      case 'literal':
        return node.value ? '1' : '0';
      case 'is':
        return this.#is(node);
      case 'column': {
        const column = this.#column(node);
        if (column.storageOid !== OID.bool)
          throw this.#refused(node.at, `column "${column.name}" is no boolean: a comparison is needed`);
        return this.#columnSql(column, 'value');
      }
      case 'compare': {
        const column = this.#column(node);
        if (this.#labels(column) !== null && node.operator !== '=' && node.operator !== '<>')
          return this.#labelOrder(column, node.operator, node.value);
        const { sql, values } = this.#operands(column, [node.value], node.operator);
        return `(${sql} ${node.operator} ${values[0]})`;
      }
      case 'distinct': {
        const column = this.#column(node);
        const { sql, values } = this.#operands(column, [node.value], '=');
        return `(${sql} IS NOT ${values[0]})`;
      }
      case 'in': {
        const column = this.#column(node);
        const { sql, values } = this.#operands(column, node.values, '=');
        return `(${sql} IN (${values.join(', ')}))`;
      }
      case 'like': {
        const column = this.#column(node);
        if (column.storageOid !== OID.text && column.storageOid !== OID.varchar)
          throw this.#refused(node.at, `LIKE is understood for text and varchar, and "${column.name}" is neither`);
        this.#requireDeterministic(column, node.at);
        const sql = this.#columnSql(column, 'value');
        const beginning = sqlLiteral(node.beginning);
        // Characters on both sides: SQLite counts code points, as length() does here.
        return node.open ? `(substr(${sql}, 1, length(${beginning})) = ${beginning})` : `(${sql} = ${beginning})`;
      }
    }
  }

  #is(node: Condition & { kind: 'is' }): string {
    const column = this.#column(node);
    const sql = this.#columnSql(column, 'value');
    if (node.what === 'null') return `(${sql} IS NULL)`;
    if (column.storageOid !== OID.bool) throw this.#refused(node.at, `column "${column.name}" is no boolean`);
    return `(${sql} IS ${node.what === 'true' ? '1' : '0'})`;
  }

  #column(node: { readonly column: string; readonly at: number }): ColumnLayout {
    const column = this.#layout.columns.find((one) => one.name === node.column);
    if (column === undefined) {
      const { schema, name } = this.#layout.image;
      throw this.#refused(node.at, `table ${schema}.${name} has no replicated column "${node.column}"`);
    }
    return column;
  }

  /** SQL of both sides in a form in which SQLite's comparison is Postgres's. */
  #operands(
    column: ColumnLayout,
    constants: readonly Constant[],
    operator: Comparison,
  ): { readonly sql: string; readonly values: string[] } {
    const form = column.codec.hasKey ? 'key' : 'value';
    let sql = this.#columnSql(column, form);
    const values = constants.map((constant) => this.#constant(column, constant, operator));
    // Blanks at the end of char(n) do not count.
    if (column.storageOid === OID.bpchar) sql = `rtrim(${sql}, ' ')`;
    return { sql, values };
  }

  #constant(column: ColumnLayout, constant: Constant, operator: Comparison): string {
    const labels = this.#labels(column);
    if (labels !== null) {
      this.#requireCast(column, constant, null);
      if (constant.kind !== 'string')
        throw this.#refused(constant.at, `a label of the type of "${column.name}" is needed`);
      if (!labels.includes(constant.text))
        throw this.#refused(constant.at, `'${constant.text}' is no label of the type of "${column.name}"`);
      return sqlLiteral(constant.text);
    }
    if (
      column.image.typeOid !== column.storageOid &&
      this.#catalogue.resolveType(column.image.typeOid)?.oid !== column.storageOid
    )
      throw this.#unsupported(column, constant.at);
    const type = TYPES.get(column.storageOid);
    if (type === undefined) throw this.#unsupported(column, constant.at);
    this.#requireCast(column, constant, type.names);
    if (type.isText) {
      this.#requireDeterministic(column, constant.at);
      if (operator !== '=' && operator !== '<>' && !column.image.collationIsC) {
        throw this.#refused(
          constant.at,
          `the order of "${column.name}" is that of a collation which only Postgres knows; = <> IN and LIKE are understood`,
        );
      }
    }
    const sql = type.literal(constant);
    if (sql === null) throw this.#refused(constant.at, `"${column.name}" is compared with ${type.expects}`);
    return sql;
  }

  /** `label < column` and its kin: labels have an order of their own. */
  #labelOrder(column: ColumnLayout, operator: Comparison, value: Constant): string {
    const labels = this.#labels(column) ?? [];
    this.#constant(column, value, '=');
    const at = labels.indexOf(value.text);
    const chosen = labels.filter((_, index) =>
      operator === '<' ? index < at : operator === '<=' ? index <= at : operator === '>' ? index > at : index >= at,
    );
    const sql = this.#columnSql(column, 'value');
    // An empty list would give false for NULL as well.
    return `iif(${sql} IS NULL, NULL, ${sql} IN (${chosen.map(sqlLiteral).join(', ')}))`;
  }

  #labels(column: ColumnLayout): readonly string[] | null {
    const resolved = this.#catalogue.resolveType(column.image.typeOid);
    return resolved?.kind === 'e' && resolved.image !== null ? resolved.image.enumLabels : null;
  }

  #requireCast(column: ColumnLayout, constant: Constant, names: readonly string[] | null): void {
    const { cast } = constant;
    if (cast === null || names?.includes(cast) === true) return;
    const type = this.#catalogue.type(column.image.typeOid);
    if (type !== undefined && (cast === type.name || cast === `${type.schema}.${type.name}`)) return;
    throw this.#refused(constant.at, `the cast to ${cast} is not to the type of "${column.name}"`);
  }

  #requireDeterministic(column: ColumnLayout, at: number): void {
    if (!column.image.collationIsDeterministic)
      throw this.#refused(at, `"${column.name}" has a collation in which different texts may be equal`);
  }

  #unsupported(column: ColumnLayout, at: number): Fault {
    return this.#refused(
      at,
      `the type of "${column.name}" cannot be compared here`,
      'text, varchar, char(n), whole numbers, numeric, boolean, uuid, date, timestamp, timestamptz and enums can; IS NULL works for all',
    );
  }

  #refused(at: number, message: string, hint?: string): Fault {
    return invalidAt(this.#text, at, message, hint);
  }
}

interface TypeRules {
  /** Casts to it. */
  readonly names: readonly string[];
  readonly isText: boolean;
  readonly expects: string;
  /** SQL of the stored (key) form; null when the constant is none of this type. */
  readonly literal: (constant: Constant) => string | null;
}

const INT8_MAX = 2n ** 63n - 1n;

function wholeNumber(min: bigint, max: bigint): (constant: Constant) => string | null {
  return ({ kind, text }) => {
    const trimmed = text.trim();
    if (kind === 'boolean' || !/^[+-]?\d{1,30}$/.test(trimmed)) return null;
    const value = BigInt(trimmed.replace('+', ''));
    // A quoted one is read as the column's type; a plain one may be of a larger type, up to int8.
    const [low, high] = kind === 'string' ? [min, max] : [-INT8_MAX - 1n, INT8_MAX];
    return value < low || value > high ? null : value.toString();
  };
}

const textLiteral = ({ kind, text }: Constant): string | null => (kind === 'string' ? sqlLiteral(text) : null);

function booleanLiteral({ kind, text }: Constant): string | null {
  if (kind === 'number') return null;
  if (/^(true|t|on|yes|y|1)$/.test(text)) return '1';
  return /^(false|f|off|no|n|0)$/.test(text) ? '0' : null;
}

function uuidLiteral({ kind, text }: Constant): string | null {
  const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
  return kind === 'string' && isUuid ? sqlLiteral(text.toLowerCase()) : null;
}

function numericLiteral({ kind, text }: Constant): string | null {
  if (kind === 'boolean' || !/^[+-]?\d+(\.\d+)?$/.test(text)) return null;
  return sqlLiteral(numericKey(text));
}

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const MOMENT = /^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2})(?::(\d{2})(\.\d{1,6})?)?(Z|[+-]\d{2}(?::?\d{2})?)?$/;
const SHORTEST_FRACTION = /\.?0*$/;

function dateLiteral({ kind, text }: Constant): string | null {
  if (kind !== 'string') return null;
  if (text === 'infinity' || text === '-infinity') return sqlLiteral(text);
  const found = DATE.exec(text);
  return found === null || !isDay(found) ? null : sqlLiteral(orderedTemporal(text));
}

function isDay(found: RegExpExecArray): boolean {
  const [year, month, day] = [Number(found[1]), Number(found[2]), Number(found[3])];
  // The constructor would take years below 100 for those of the last century.
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return year >= 1 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/** `hasZone`: timestamptz, which must name its zone, for the session's must not decide. */
function momentLiteral(hasZone: boolean): (constant: Constant) => string | null {
  return ({ kind, text }) => {
    if (kind !== 'string') return null;
    if (text === 'infinity' || text === '-infinity') return sqlLiteral(text);
    const whole = DATE.test(text) && !hasZone ? `${text} 00:00:00` : text;
    const found = MOMENT.exec(whole);
    if (found === null || !isDay(found)) return null;
    const [hour, minute, second] = [Number(found[4]), Number(found[5]), Number(found[6] ?? '0')];
    const zone = found[8];
    if (hour > 23 || minute > 59 || second > 59 || (zone === undefined) === hasZone) return null;
    const fraction = (found[7] ?? '').replace(SHORTEST_FRACTION, '');
    const date = new Date(0);
    date.setUTCFullYear(Number(found[1]), Number(found[2]) - 1, Number(found[3]));
    date.setUTCHours(hour, minute - zoneMinutes(zone), second);
    const printed = `${date.toISOString().slice(0, 19).replace('T', ' ')}${fraction}${hasZone ? '+00' : ''}`;
    // A zone may lead out of the years that are written with four digits.
    return /^\d{4}-/.test(printed) && !printed.startsWith('0000') ? sqlLiteral(orderedTemporal(printed)) : null;
  };
}

function zoneMinutes(zone: string | undefined): number {
  if (zone === undefined || zone === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(':', '') || '0');
  return zone.startsWith('-') ? -minutes : minutes;
}

const TYPES: ReadonlyMap<number, TypeRules> = new Map([
  [OID.int2, whole(['smallint', 'int2'], -(2n ** 15n), 2n ** 15n - 1n)],
  [OID.int4, whole(['integer', 'int', 'int4'], -(2n ** 31n), 2n ** 31n - 1n)],
  [OID.int8, whole(['bigint', 'int8'], -INT8_MAX - 1n, INT8_MAX)],
  [OID.numeric, rules(['numeric', 'decimal'], 'a number', numericLiteral)],
  [OID.bool, rules(['boolean', 'bool'], 'true or false', booleanLiteral)],
  [OID.uuid, rules(['uuid'], "a uuid such as '8f14e45f-ceea-467f-a8f5-1d0e1a2b3c4d'", uuidLiteral)],
  [OID.date, rules(['date'], "a day such as '2026-11-20'", dateLiteral)],
  [
    OID.timestamp,
    rules(
      ['timestamp', 'timestamp without time zone'],
      "a moment without zone such as '2026-11-20 13:00:00'",
      momentLiteral(false),
    ),
  ],
  [
    OID.timestamptz,
    rules(
      ['timestamptz', 'timestamp with time zone'],
      "a moment with its zone such as '2026-11-20 13:00:00+00'",
      momentLiteral(true),
    ),
  ],
  [OID.text, { ...rules(['text'], "a text in quotes such as 'eu'", textLiteral), isText: true }],
  [
    OID.varchar,
    { ...rules(['text', 'varchar', 'character varying'], "a text in quotes such as 'eu'", textLiteral), isText: true },
  ],
  [
    OID.bpchar,
    {
      ...rules(['bpchar', 'character', 'char'], "a text in quotes such as 'eu'", (constant) =>
        textLiteral({ ...constant, text: constant.text.replace(/ +$/, '') }),
      ),
      isText: true,
    },
  ],
]);

function rules(names: readonly string[], expects: string, literal: TypeRules['literal']): TypeRules {
  return { names, isText: false, expects, literal };
}

function whole(names: readonly string[], min: bigint, max: bigint): TypeRules {
  return rules(names, `a whole number from ${min} to ${max}`, wholeNumber(min, max));
}
