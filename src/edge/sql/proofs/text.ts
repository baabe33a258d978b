// Functions of texts.

import { quoteIdentifier, quoteLiteral } from '../../../pg/identifier.ts';
import { formatArray } from '../../../pg/types/array.ts';
import { NEED_OUTPUT_DEFAULTS } from '../plan.ts';
import { md5 } from './hash.ts';
import type { Family } from './proof.ts';

/** Longest text that is made here; longer ones are left to the core. */
const TEXT_LENGTH_MAX = 1_000_000;

function checkedLength(length: number): number {
  if (length > TEXT_LENGTH_MAX) throw new RangeError('a text too long to make here');
  return length;
}

const SURROGATE = /[\ud800-\udfff]/;

/** The characters of a text: code points. */
function chars(text: string): readonly string[] | string {
  return SURROGATE.test(text) ? Array.from(text) : text;
}

/** Characters from `start` (0-based) up to `end`. */
function slice(text: string, start: number, end: number): string {
  if (!SURROGATE.test(text)) return text.slice(start, end);
  return Array.from(text).slice(start, end).join('');
}

function length(text: string): number {
  return chars(text).length;
}

function substring(text: string, start: number, count: number): string {
  if (count < 0) throw new RangeError('negative substring length not allowed');
  const end = start + count;
  return end <= 1 ? '' : slice(text, Math.max(start - 1, 0), end - 1);
}

function left(text: string, count: number): string {
  return count >= 0 ? slice(text, 0, count) : slice(text, 0, Math.max(length(text) + count, 0));
}

function right(text: string, count: number): string {
  const size = length(text);
  // It has no negative.
  if (count === -0x8000_0000) throw new RangeError('left to the core');
  return count >= 0 ? slice(text, Math.max(size - count, 0), size) : slice(text, Math.min(-count, size), size);
}

function padding(count: number, fill: string): string {
  const size = length(fill);
  return slice(fill.repeat(Math.ceil(count / size)), 0, count);
}

function lpad(text: string, wanted: number, fill: string): string {
  const size = length(text);
  const target = checkedLength(Math.max(wanted, 0));
  if (size >= target) return slice(text, 0, target);
  return fill === '' ? text : padding(target - size, fill) + text;
}

function rpad(text: string, wanted: number, fill: string): string {
  const size = length(text);
  const target = checkedLength(Math.max(wanted, 0));
  if (size >= target) return slice(text, 0, target);
  return fill === '' ? text : text + padding(target - size, fill);
}

function repeat(text: string, count: number): string {
  if (count <= 0) return '';
  checkedLength(text.length * count);
  return text.repeat(count);
}

function reverse(text: string): string {
  return Array.from(text).reverse().join('');
}

function translate(text: string, from: string, to: string): string {
  const sources = Array.from(from);
  const targets = Array.from(to);
  const map = new Map<string, string>();
  for (const [index, source] of sources.entries()) if (!map.has(source)) map.set(source, targets[index] ?? '');
  return Array.from(text, (char) => map.get(char) ?? char).join('');
}

function splitPart(text: string, delimiter: string, field: number): string {
  if (field === 0) throw new RangeError('field position must not be zero');
  if (text === '') return '';
  if (delimiter === '') return field === 1 || field === -1 ? text : '';
  const parts = text.split(delimiter);
  return (field > 0 ? parts[field - 1] : parts[parts.length + field]) ?? '';
}

function overlay(text: string, by: string, start: number, count: number): string {
  if (start <= 0) throw new RangeError('negative substring length not allowed');
  const after = start + count;
  if (after > 0x7fff_ffff) throw new RangeError('integer out of range');
  return substring(text, 1, start - 1) + by + slice(text, Math.max(after - 1, 0), text.length);
}

function chr(code: number): string {
  if (code <= 0 || code > 0x10_ffff || (code >= 0xd800 && code <= 0xdfff)) {
    throw new RangeError('requested character not valid');
  }
  return String.fromCodePoint(code);
}

/** Words that only some of the versions quote. */
const SOMETIMES_QUOTED = new Set(
  (
    'json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize ' +
    'json_table json_value merge_action system_user'
  ).split(' '),
);

function quoteIdent(name: string): string {
  if (SOMETIMES_QUOTED.has(name)) throw new RangeError('a word that is reserved in some versions');
  return quoteIdentifier(name);
}

/** quote_literal() puts a blank before E. */
function quoteText(text: string): string {
  const quoted = quoteLiteral(text);
  return quoted.startsWith('E') ? ` ${quoted}`.trimStart() : quoted;
}

function stringToArray(text: string | null, delimiter: string | null, nullText: string | null): string | null {
  if (text === null) return null;
  const elements =
    text === '' ? [] : delimiter === null ? Array.from(text) : delimiter === '' ? [text] : text.split(delimiter);
  if (elements.length === 0) return '{}';
  return formatArray({
    dimensions: [{ length: elements.length, lowerBound: 1 }],
    elements: elements.map((element) => (element === nullText ? null : element)),
  });
}

const BASE64_LINE = 76;

function encode(bytes: Uint8Array, format: string): string {
  switch (format.toLowerCase()) {
    case 'hex':
      return Buffer.from(bytes).toString('hex');
    case 'base64':
      return (
        Buffer.from(bytes)
          .toString('base64')
          .match(new RegExp(`.{1,${BASE64_LINE}}`, 'g')) ?? []
      ).join('\n');
    case 'escape':
      return Array.from(bytes, (byte) =>
        byte === 0 || byte >= 128
          ? `\\${byte.toString(8).padStart(3, '0')}`
          : byte === 92
            ? '\\\\'
            : String.fromCharCode(byte),
      ).join('');
    default:
      throw new RangeError('unrecognized encoding');
  }
}

function decode(text: string, format: string): Uint8Array {
  switch (format.toLowerCase()) {
    case 'hex': {
      const hex = text.replace(/[ \n\t\r]/g, '');
      if (hex !== text || hex.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(hex)) throw new RangeError('invalid hex');
      return Buffer.from(hex, 'hex');
    }
    case 'base64': {
      const plain = text.replace(/[ \n\t\r]/g, '');
      if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(plain))
        throw new RangeError('invalid base64');
      return Buffer.from(plain, 'base64');
    }
    default:
      throw new RangeError('left to the core');
  }
}

/** format(): what stands for each %. Throws where Postgres refuses. */
export function format(template: string | null, values: readonly (string | null)[]): string | null {
  if (template === null) return null;
  let made = '';
  let next = 0;
  for (let at = 0; at < template.length; at += 1) {
    const char = template[at] as string;
    if (char !== '%') {
      made += char;
      continue;
    }
    if (template[at + 1] === '%') {
      made += '%';
      at += 1;
      continue;
    }
    const spec = /^%(?:(\d+)\$)?(-)?(\d+)?([sIL])/.exec(template.slice(at));
    if (spec === null) throw new RangeError('a format that is left to the core');
    const position = spec[1] === undefined ? next : Number(spec[1]) - 1;
    if (position < 0 || position >= values.length) throw new RangeError('too few arguments for format()');
    next = position + 1;
    const value = values[position] ?? null;
    let text: string;
    if (spec[4] === 's') text = value ?? '';
    else if (spec[4] === 'L') text = value === null ? 'NULL' : quoteText(value);
    else if (value === null) throw new RangeError('null values cannot be formatted as an SQL identifier');
    else text = quoteIdent(value);
    const width = Number(spec[3] ?? 0);
    const gap = ' '.repeat(checkedLength(Math.max(width - length(text), 0)));
    made += spec[2] === undefined ? gap + text : text + gap;
    at += spec[0].length - 1;
  }
  return made;
}

function concatWs(separator: string | null, ...values: readonly (string | null)[]): string | null {
  return separator === null ? null : values.filter((value) => value !== null).join(separator);
}

function initcap(text: string): string {
  if (!ASCII.test(text)) throw new RangeError('letters of a locale');
  return text.toLowerCase().replace(/[a-z0-9]+/g, (word) => (word[0] as string).toUpperCase() + word.slice(1));
}

// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/;

/** What a constant that is not zero cannot raise. */
const unlessZero = (constants: readonly (string | null)[]): boolean => !/[1-9]/.test(constants[2] ?? '');
const unlessPositive = (constants: readonly (string | null)[]): boolean =>
  !/^\+?0*[1-9]\d{0,7}$/.test(constants[2] ?? '');

export const TEXT: Family = {
  title: 'Text',
  rows: [
    { of: 'text || text', sql: (a, b) => `(${a} || ${b})` },
    ...['length', 'char_length', 'character_length'].flatMap((name) => [
      { of: `${name}(text)`, sql: (a: string) => `length(${a})` },
      { of: `${name}(bpchar)`, sql: (a: string) => `length(rtrim(${a}, ' '))` },
    ]),
    { of: 'octet_length(text)', sql: (a) => `length(CAST(${a} AS BLOB))` },
    { of: 'octet_length(bpchar)', sql: (a) => `length(CAST(${a} AS BLOB))` },
    { of: 'bit_length(text)', sql: (a) => `(8 * length(CAST(${a} AS BLOB)))` },
    { of: 'btrim(text)', sql: (a) => `trim(${a}, ' ')` },
    { of: 'ltrim(text)', sql: (a) => `ltrim(${a}, ' ')` },
    { of: 'rtrim(text)', sql: (a) => `rtrim(${a}, ' ')` },
    { of: 'btrim(text,text)', sql: (a, b) => `trim(${a}, ${b})` },
    { of: 'ltrim(text,text)', sql: (a, b) => `ltrim(${a}, ${b})` },
    { of: 'rtrim(text,text)', sql: (a, b) => `rtrim(${a}, ${b})` },
    ...['substr', 'substring'].flatMap((name) => [
      {
        of: `${name}(text,int4)`,
        js: (text: string, start: number) => slice(text, Math.max(start - 1, 0), text.length),
        isTotal: true,
      },
      {
        of: `${name}(text,int4,int4)`,
        js: substring,
        raises: (constants: readonly (string | null)[]) => !/^\+?\d+$/.test(constants[2] ?? ''),
      },
    ]),
    { of: 'left(text,int4)', js: left, isTotal: true },
    { of: 'right(text,int4)', js: right },
    { of: 'lpad(text,int4)', js: (text: string, count: number) => lpad(text, count, ' ') },
    { of: 'lpad(text,int4,text)', js: lpad },
    { of: 'rpad(text,int4)', js: (text: string, count: number) => rpad(text, count, ' ') },
    { of: 'rpad(text,int4,text)', js: rpad },
    { of: 'repeat(text,int4)', js: repeat },
    { of: 'reverse(text)', js: reverse, isTotal: true },
    {
      of: 'replace(text,text,text)',
      sql: (a, b, c) => `CASE WHEN ${c} IS NOT NULL THEN replace(${a}, ${b}, ${c}) END`,
      collation: 'bytes',
    },
    { of: 'translate(text,text,text)', js: translate, isTotal: true },
    { of: 'split_part(text,text,int4)', js: splitPart, raises: unlessZero, collation: 'bytes' },
    { of: 'strpos(text,text)', sql: (a, b) => `instr(${a}, ${b})`, collation: 'bytes' },
    { of: 'position(text,text)', sql: (a, b) => `instr(${a}, ${b})`, collation: 'bytes' },
    { of: 'starts_with(text,text)', sql: (a, b) => `(substr(${a}, 1, length(${b})) = ${b})`, collation: 'bytes' },
    { of: 'text ^@ text', sql: (a, b) => `(substr(${a}, 1, length(${b})) = ${b})`, collation: 'bytes' },
    {
      of: 'overlay(text,text,int4)',
      js: (text: string, by: string, start: number) => overlay(text, by, start, length(by)),
      raises: unlessPositive,
    },
    { of: 'overlay(text,text,int4,int4)', js: overlay, raises: true },
    { of: 'ascii(text)', js: (text: string) => text.codePointAt(0) ?? 0, isTotal: true },
    { of: 'chr(int4)', js: chr, raises: true },
    { of: 'md5(text)', js: (text: string) => md5(Buffer.from(text, 'utf8')), isTotal: true },
    { of: 'md5(bytea)', js: md5, isTotal: true },
    { of: 'encode(bytea,text)', js: encode, raises: true },
    { of: 'decode(text,text)', js: decode, raises: true },
    { of: 'to_hex(int4)', js: (value: number) => (value >>> 0).toString(16), isTotal: true },
    { of: 'to_hex(int8)', js: (value: bigint) => BigInt.asUintN(64, value).toString(16), isTotal: true },
    { of: 'quote_ident(text)', js: quoteIdent, needs: NEED_OUTPUT_DEFAULTS },
    { of: 'quote_literal(text)', js: quoteText, isTotal: true },
    {
      of: 'quote_nullable(text)',
      js: (text: string | null) => (text === null ? 'NULL' : quoteText(text)),
      isTotal: true,
      lax: true,
    },
    {
      of: 'concat(*any)',
      js: (...values: (string | null)[]) => values.map((value) => value ?? '').join(''),
      isTotal: true,
      lax: true,
    },
    { of: 'concat_ws(text,*any)', js: concatWs, isTotal: true, lax: true },
    {
      of: 'format(text,*any)',
      // %I
      needs: NEED_OUTPUT_DEFAULTS,
      js: (template: string | null, ...values: (string | null)[]) => format(template, values),
      lax: true,
      raises: true,
    },
    { of: 'format(text)', js: (template: string | null) => format(template, []), lax: true, raises: true },
    { of: 'initcap(text)', js: initcap, collation: 'c' },
    { of: 'lower(text)', sql: (a) => `lower(${a})`, collation: 'ascii-case' },
    { of: 'upper(text)', sql: (a) => `upper(${a})`, collation: 'ascii-case' },
    {
      of: 'string_to_array(text,text)',
      js: (text: string | null, by: string | null) => stringToArray(text, by, null),
      isTotal: true,
      lax: true,
      collation: 'bytes',
    },
    { of: 'string_to_array(text,text,text)', js: stringToArray, isTotal: true, lax: true, collation: 'bytes' },
  ],
};
