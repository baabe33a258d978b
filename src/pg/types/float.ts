// Floating point text as Postgres 12 and later prints it (extra_float_digits ≥ 1): the shortest digits that read back the same.

/** float8out. */
export function formatFloat8(value: number): string {
  const special = formatSpecial(value);
  if (special !== null) return special;
  const shortest = Math.abs(value).toString();
  // Whole numbers below 10^15 print alike in both worlds: by far the most common case.
  const text =
    Number.isInteger(value) && Math.abs(value) < 1e15
      ? shortest
      : layOut(strictFloat8(Math.abs(value), digitsOf(shortest)), 15);
  return value < 0 ? `-${text}` : text;
}

/** float4out; `value` must already be rounded to a float4 (Math.fround). */
export function formatFloat4(value: number): string {
  const special = formatSpecial(value);
  if (special !== null) return special;
  const text = layOut(shortestFloat4(Math.abs(value)), 6);
  return value < 0 ? `-${text}` : text;
}

/** Reads what Postgres prints for a float4 or float8 (also `inf`, `infinity` in any case). */
export function parseFloatText(text: string): number {
  const value = Number(text);
  if (!Number.isNaN(value) && text !== '') return value;
  switch (text.trim().toLowerCase()) {
    case 'infinity':
    case '+infinity':
    case 'inf':
    case '+inf':
      return Infinity;
    case '-infinity':
    case '-inf':
      return -Infinity;
    default:
      return Number.NaN;
  }
}

function formatSpecial(value: number): string | null {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  if (Number.isFinite(value)) return null;
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? 'Infinity' : '-Infinity';
}

/** value = 0.d1d2d3… × 10^point, no trailing zeros. */
interface Digits {
  readonly digits: string;
  readonly point: number;
}

/** Takes apart what Number.prototype.toString or toPrecision made of a positive number. */
function digitsOf(text: string): Digits {
  const e = text.indexOf('e');
  const mantissa = e < 0 ? text : text.slice(0, e);
  const exponent = e < 0 ? 0 : Number(text.slice(e + 1));
  const dot = mantissa.indexOf('.');
  const whole = dot < 0 ? mantissa : mantissa.slice(0, dot);
  const all = dot < 0 ? mantissa : whole + mantissa.slice(dot + 1);
  let first = 0;
  while (all.charCodeAt(first) === 48) first += 1;
  let last = all.length;
  while (last > first && all.charCodeAt(last - 1) === 48) last -= 1;
  return { digits: all.slice(first, last), point: whole.length + exponent - first };
}

/** Fixed notation for decimal exponents in [-4, threshold), else scientific with at least two exponent digits. */
function layOut({ digits, point }: Digits, threshold: number): string {
  const exponent = point - 1;
  if (exponent < -4 || exponent >= threshold) {
    const mantissa = digits.length === 1 ? digits : `${digits[0]}.${digits.slice(1)}`;
    const size = Math.abs(exponent);
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${size < 10 ? '0' : ''}${size}`;
  }
  if (point <= 0) return `0.${'0'.repeat(-point)}${digits}`;
  if (point >= digits.length) return digits + '0'.repeat(point - digits.length);
  return `${digits.slice(0, point)}.${digits.slice(point)}`;
}

/**
 * JavaScript accepts a decimal that lies exactly between two doubles when it reads back by round-to-even; Postgres does
 * not and prints one digit more. Such decimals exist only where the double is a large whole number.
 */
function strictFloat8(value: number, shortest: Digits): Digits {
  if (value < 2 ** 53 || value > 1e41) return shortest;
  const decimal = BigInt(shortest.digits) * 10n ** BigInt(Math.max(0, shortest.point - shortest.digits.length));
  const exact = BigInt(value);
  // All spacings are even here, so half of one is whole. The spacing below a power of two is half of the one above.
  const above = BigInt(nextUp(value)) - exact;
  const below = exact - BigInt(nextDown(value));
  if (decimal - exact !== above / 2n && exact - decimal !== below / 2n) return shortest;
  for (let precision = shortest.digits.length + 1; precision <= 17; precision += 1) {
    const longer = digitsOf(roundTo(value, precision));
    if (longer.digits !== shortest.digits && Number(`0.${longer.digits}e${longer.point}`) === value) return longer;
  }
  return shortest;
}

const float64 = new Float64Array(1);
const float64Bits = new BigUint64Array(float64.buffer);

function nextUp(value: number): number {
  float64[0] = value;
  float64Bits[0] = (float64Bits[0] as bigint) + 1n;
  return float64[0];
}

function nextDown(value: number): number {
  float64[0] = value;
  float64Bits[0] = (float64Bits[0] as bigint) - 1n;
  return float64[0];
}

const float32 = new Float32Array(1);
const float32Bits = new Uint32Array(float32.buffer);

/** The shortest decimal strictly inside the rounding interval of a positive finite float4; the closest of those. */
function shortestFloat4(value: number): Digits {
  float32[0] = value;
  const bits = float32Bits[0] as number;
  float32Bits[0] = bits + 1;
  const up = float32[0] as number;
  float32Bits[0] = bits - 1;
  const down = float32[0] as number;
  // Midpoints of float4 neighbours are exact in a double, and so is the test below: candidates have at most 9 digits.
  const high = Number.isFinite(up) ? (value + up) / 2 : value + (value - down) / 2;
  const low = (value + down) / 2;
  // A normal float4 tells any two 6-digit decimals apart, so a shorter one would show as trailing zeros at 6 digits.
  for (let precision = bits < 0x00800000 ? 1 : 6; precision < 9; precision += 1) {
    const text = roundTo(value, precision);
    const nearest = Number(text);
    if (nearest > low && nearest < high) return digitsOf(text);
    // Below a power of two the interval is lopsided: the nearest decimal may be out below while the next one up is in.
    if (nearest < value) {
      const { digits, point } = digitsOf(text);
      const next = (BigInt(digits.padEnd(precision, '0')) + 1n).toString();
      const shifted = next.length > precision ? point + 1 : point;
      const candidate = `0.${next}e${shifted}`;
      const number = Number(candidate);
      if (number > low && number < high) return digitsOf(number.toPrecision(precision));
    }
  }
  return digitsOf(roundTo(value, 9));
}

/** More digits than this are never zero by chance. */
const EXACT_DIGITS = 60;

/** toPrecision, but a tie goes to the even digit, as in Postgres, and not away from zero. */
export function roundTo(value: number, precision: number): string {
  const rounded = value.toPrecision(precision);
  const longer = value.toPrecision(precision + 1);
  const e = longer.indexOf('e');
  if (longer.charCodeAt((e < 0 ? longer.length : e) - 1) !== 53) return rounded;
  const exact = digitsOf(value.toPrecision(EXACT_DIGITS));
  if (exact.digits.length !== precision + 1) return rounded;
  const isEven = (exact.digits.charCodeAt(precision - 1) & 1) === 0;
  return isEven ? `0.${exact.digits.slice(0, precision)}e${exact.point}` : rounded;
}
