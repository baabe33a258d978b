// Arithmetic of Postgres' numeric on its text, exact and with Postgres' own choice of how many digits to print. Infinities have
// rules of their own: they throw, and the statement is forwarded.

export interface Decimal {
  /** The number times 10^scale. */
  readonly digits: bigint;
  /** Digits after the point. */
  readonly scale: number;
}

/** Longer numbers are left to the core: their arithmetic would hold up others. */
const TEXT_LENGTH_MAX = 1_000;

/** NUMERIC_MIN_SIG_DIGITS and NUMERIC_MAX_DISPLAY_SCALE of the server: significant digits of a quotient. */
const QUOTIENT_DIGITS_MIN = 16;
const SCALE_MAX = 1_000;

/** Throws for NaN, infinities and whatever is too long. */
export function parseDecimal(text: string): Decimal {
  if (text.length > TEXT_LENGTH_MAX) throw new RangeError('a numeric too long to compute with here');
  const point = text.indexOf('.');
  if (point < 0) return { digits: BigInt(text), scale: 0 };
  return { digits: BigInt(text.slice(0, point) + text.slice(point + 1)), scale: text.length - point - 1 };
}

export function formatDecimal({ digits, scale }: Decimal): string {
  if (scale === 0) return digits.toString();
  const isNegative = digits < 0n;
  const text = (isNegative ? -digits : digits).toString().padStart(scale + 1, '0');
  return `${isNegative ? '-' : ''}${text.slice(0, -scale)}.${text.slice(-scale)}`;
}

export function add(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { digits: scaled(a, scale) + scaled(b, scale), scale };
}

export function subtract(a: Decimal, b: Decimal): Decimal {
  return add(a, { digits: -b.digits, scale: b.scale });
}

export function multiply(a: Decimal, b: Decimal): Decimal {
  return { digits: a.digits * b.digits, scale: a.scale + b.scale };
}

/** Throws for a division by zero. */
export function divide(a: Decimal, b: Decimal): Decimal {
  if (b.digits === 0n) throw new RangeError('division by zero');
  const scale = quotientScale(a, b);
  // One power of ten brings the quotient to its scale; it may be a negative one.
  const shift = scale - a.scale + b.scale;
  const numerator = shift > 0 ? a.digits * 10n ** BigInt(shift) : a.digits;
  const denominator = shift < 0 ? b.digits * 10n ** BigInt(-shift) : b.digits;
  return { digits: roundedQuotient(numerator, denominator), scale };
}

export function remainder(a: Decimal, b: Decimal): Decimal {
  if (b.digits === 0n) throw new RangeError('division by zero');
  const scale = Math.max(a.scale, b.scale);
  return { digits: scaled(a, scale) % scaled(b, scale), scale };
}

/** To `scale` digits after the point, halves away from zero. */
export function round(a: Decimal, scale: number): Decimal {
  if (scale >= a.scale) return { digits: scaled(a, scale), scale };
  return { digits: roundedQuotient(a.digits, 10n ** BigInt(a.scale - scale)), scale };
}

export function truncate(a: Decimal, scale: number): Decimal {
  if (scale >= a.scale) return { digits: scaled(a, scale), scale };
  return { digits: a.digits / 10n ** BigInt(a.scale - scale), scale };
}

export function floor(a: Decimal): Decimal {
  const unit = 10n ** BigInt(a.scale);
  const whole = a.digits / unit;
  return { digits: a.digits < 0n && whole * unit !== a.digits ? whole - 1n : whole, scale: 0 };
}

export function ceiling(a: Decimal): Decimal {
  const down = floor({ digits: -a.digits, scale: a.scale });
  return { digits: -down.digits, scale: 0 };
}

function scaled(a: Decimal, scale: number): bigint {
  return scale === a.scale ? a.digits : a.digits * 10n ** BigInt(scale - a.scale);
}

function roundedQuotient(numerator: bigint, denominator: bigint): bigint {
  const isNegative = numerator < 0n !== denominator < 0n;
  const n = numerator < 0n ? -numerator : numerator;
  const d = denominator < 0n ? -denominator : denominator;
  const quotient = (n * 2n + d) / (d * 2n);
  return isNegative ? -quotient : quotient;
}

/** The server computes in digits of base 10,000 and estimates from the first of each operand how long the quotient is. */
function quotientScale(a: Decimal, b: Decimal): number {
  const first = leading(a);
  const second = leading(b);
  const weight = first.weight - second.weight - (first.digit <= second.digit ? 1 : 0);
  const scale = Math.max(QUOTIENT_DIGITS_MIN - weight * 4, a.scale, b.scale, 0);
  return Math.min(scale, SCALE_MAX);
}

/** First digit of base 10,000 that is not zero, and its power of 10,000. */
function leading({ digits, scale }: Decimal): { weight: number; digit: number } {
  if (digits === 0n) return { weight: 0, digit: 0 };
  const text = (digits < 0n ? -digits : digits).toString();
  /** Digits before the point; negative when zeros follow it. */
  const before = text.length - scale;
  const weight = Math.ceil(before / 4) - 1;
  const inFirst = before - weight * 4;
  return { weight, digit: Number(text.slice(0, inFirst).padEnd(inFirst, '0')) };
}
