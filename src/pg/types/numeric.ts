// numeric: the printed text and the binary form (digits of base 10,000).

import { invalidBinary, invalidText } from './faults.ts';

const SIGN = { positive: 0x0000, negative: 0x4000, nan: 0xc000, infinity: 0xd000, minusInfinity: 0xf000 } as const;

/** The bits that Postgres happens to have where the scale of a finite value is. */
const INFINITY_SCALE = 0x20;

const SPECIAL: Readonly<Record<string, number>> = {
  NaN: SIGN.nan,
  Infinity: SIGN.infinity,
  '-Infinity': SIGN.minusInfinity,
};

const NUMERIC = /^(-?)(\d*)(?:\.(\d*))?$/;

export function numericToBinary(text: string): Buffer {
  const special = SPECIAL[text];
  if (special !== undefined) return header(0, 0, special, special === SIGN.nan ? 0 : INFINITY_SCALE, 0);
  const found = NUMERIC.exec(text);
  if (found === null || (found[2] === '' && (found[3] ?? '') === '')) throw invalidText('numeric', text);
  const scale = (found[3] ?? '').length;
  // Both sides of the point are filled up to whole groups of four digits.
  const whole = (found[2] as string).replace(/^0+/, '');
  const head = whole.padStart(Math.ceil(whole.length / 4) * 4, '0');
  const tail = (found[3] ?? '').padEnd(Math.ceil(scale / 4) * 4, '0');
  const all = head + tail;
  let first = 0;
  let last = all.length / 4;
  const isZeroGroup = (group: number): boolean => all.startsWith('0000', group * 4);
  while (first < last && isZeroGroup(first)) first += 1;
  while (last > first && isZeroGroup(last - 1)) last -= 1;
  const count = last - first;
  if (count === 0) return header(0, 0, SIGN.positive, scale, 0);
  const binary = header(
    count,
    head.length / 4 - 1 - first,
    found[1] === '-' ? SIGN.negative : SIGN.positive,
    scale,
    count,
  );
  for (let group = 0; group < count; group += 1) {
    const at = (first + group) * 4;
    binary.writeUInt16BE(Number(all.slice(at, at + 4)), 8 + group * 2);
  }
  return binary;
}

export function numericFromBinary(bytes: Buffer): string {
  if (bytes.length < 8) throw invalidBinary('numeric');
  const count = bytes.readUInt16BE(0);
  const weight = bytes.readInt16BE(2);
  const sign = bytes.readUInt16BE(4);
  const scale = bytes.readUInt16BE(6) & 0x3fff;
  if (bytes.length !== 8 + count * 2) throw invalidBinary('numeric');
  for (const [text, code] of Object.entries(SPECIAL)) if (code === sign) return text;
  if (sign !== SIGN.positive && sign !== SIGN.negative) throw invalidBinary('numeric');
  const group = (index: number): string => {
    if (index < 0 || index >= count) return '0000';
    const value = bytes.readUInt16BE(8 + index * 2);
    if (value > 9999) throw invalidBinary('numeric');
    return String(value).padStart(4, '0');
  };
  let whole = '';
  for (let index = 0; index <= weight; index += 1) whole += group(index);
  whole = whole.replace(/^0+/, '') || '0';
  let tail = '';
  for (let index = weight + 1; tail.length < scale; index += 1) tail += group(index);
  tail = tail.slice(0, scale);
  // Postgres has no negative zero.
  const isZero = !/[1-9]/.test(whole) && !/[1-9]/.test(tail);
  return `${sign === SIGN.negative && !isZero ? '-' : ''}${whole}${scale > 0 ? `.${tail}` : ''}`;
}

function header(count: number, weight: number, sign: number, scale: number, groups: number): Buffer {
  const binary = Buffer.alloc(8 + groups * 2);
  binary.writeUInt16BE(count, 0);
  binary.writeInt16BE(weight, 2);
  binary.writeUInt16BE(sign, 4);
  binary.writeUInt16BE(scale, 6);
  return binary;
}
