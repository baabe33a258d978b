// A binary key of a numeric: comparing keys byte by byte is comparing the numbers, and equal numbers (1.5, 1.50) have
// equal keys.
//
//   class byte        1 -Infinity, 2 negative, 3 zero, 4 positive, 5 Infinity, 6 NaN (which Postgres sorts last)
//   exponent          of 100, with the value = 0.D1D2… × 100^exponent; three bytes, biased
//   digits            base 100, one byte each, plus one; the last is not zero
//
// In a negative number exponent and digits are inverted and a 0xFF, which no inverted digit is, ends it: larger sizes sort
// first.

const CLASS = { negativeInfinity: 1, negative: 2, zero: 3, positive: 4, infinity: 5, nan: 6 } as const;

/** More than half of numeric's 131,072 digits before or 16,383 after the point. */
const EXPONENT_BIAS = 0x800000;

const ZERO = 48;
const NINE = 57;

/** Scratch for digits; grows to the longest numeric seen. */
let digits = new Uint8Array(256);

/** Key of what Postgres prints for a numeric. */
export function numericKey(text: string): Uint8Array {
  if (digits.length < text.length + 2) digits = new Uint8Array(text.length * 2);
  const first = text.charCodeAt(0);
  const negative = first === 45;
  let index = negative || first === 43 ? 1 : 0;
  if (!isDigitOrPoint(text.charCodeAt(index))) {
    if (text.charCodeAt(index) === 78) return Uint8Array.of(CLASS.nan);
    return Uint8Array.of(negative ? CLASS.negativeInfinity : CLASS.infinity);
  }
  // Collect the significant digits; `point` is how many of them stand before the decimal point (may be negative).
  let count = 0;
  let point = 0;
  let seenPoint = false;
  for (; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === 46) {
      seenPoint = true;
    } else if (code >= ZERO && code <= NINE) {
      if (count === 0 && code === ZERO) {
        if (seenPoint) point -= 1;
      } else {
        digits[count++] = code - ZERO;
        if (!seenPoint) point += 1;
      }
    } else {
      // An exponent: Postgres never prints one for a numeric, but people write them.
      point += Number(text.slice(index + 1));
      break;
    }
  }
  while (count > 0 && digits[count - 1] === 0) count -= 1;
  if (count === 0) return Uint8Array.of(CLASS.zero);

  // Pairs of digits are aligned to the decimal point.
  const odd = point & 1;
  const exponent = (point + odd) >> 1;
  const pairs = (count + odd + 1) >> 1;
  const key = new Uint8Array(4 + pairs + (negative ? 1 : 0));
  const biased = exponent + EXPONENT_BIAS;
  key[0] = negative ? CLASS.negative : CLASS.positive;
  key[1] = biased >> 16;
  key[2] = biased >> 8;
  key[3] = biased;
  digits[count] = 0;
  let source = 0;
  for (let pair = 0; pair < pairs; pair += 1) {
    const tens = pair === 0 && odd === 1 ? 0 : (digits[source++] as number);
    const ones = source < count ? (digits[source++] as number) : 0;
    key[4 + pair] = tens * 10 + ones + 1;
  }
  if (negative) {
    for (let at = 1; at < 4 + pairs; at += 1) key[at] = 255 - (key[at] as number);
    key[4 + pairs] = 255;
  }
  return key;
}

function isDigitOrPoint(code: number): boolean {
  return (code >= ZERO && code <= NINE) || code === 46;
}
