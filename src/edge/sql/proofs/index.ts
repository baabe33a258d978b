// All that is proven, by signature, and its registration as functions of SQLite.

import { builtinTypeByName } from '../../../pg/oid.ts';
import type { Sqlite } from '../../../replica/sqlite.ts';
import { decoderOf, encoderOf } from '../forms.ts';
import { isPolymorphic } from '../overload.ts';
import { functionsOf, operatorsOf, type Signature } from '../signatures.ts';
import type { Family, Proof } from './proof.ts';
import { ARRAYS } from './arrays.ts';
import { BYTES } from './bytes.ts';
import { CASTS } from './casts.ts';
import { DATES } from './dates.ts';
import { JSON_FAMILY } from './json.ts';
import { NETWORK } from './network.ts';
import { NUMBERS } from './numbers.ts';
import { PATTERNS } from './patterns.ts';
import { RANGES } from './ranges.ts';
import { TEXT } from './text.ts';

export const FAMILIES: readonly Family[] = [
  NUMBERS,
  TEXT,
  PATTERNS,
  BYTES,
  DATES,
  JSON_FAMILY,
  ARRAYS,
  RANGES,
  NETWORK,
  CASTS,
];

const bySignature = new Map<string, Proof>();
for (const { rows } of FAMILIES) for (const row of rows) bySignature.set(row.of, row);

/** What is proven of a signature; undefined when nothing is. */
export function proofOf(signature: string): Proof | undefined {
  return bySignature.get(signature);
}

/** Names of SQLite's functions are the signatures themselves, quoted. */
export function sqlFunction(signature: string): string {
  return `"${signature.replaceAll('"', '""')}"`;
}

/** The signature that a row speaks of, as Postgres has it. */
export function signatureOf(of: string): Signature | undefined {
  const call = /^(\w+)\(/.exec(of);
  if (call !== null) {
    return [150_000, 180_000]
      .flatMap((version) => functionsOf(call[1] as string, version) ?? [])
      .find((each) => each.text === of);
  }
  const cast = /^(\w+)::(\w+)$/.exec(of);
  if (cast !== null) {
    const [from, to] = [builtinTypeByName(cast[1] as string), builtinTypeByName(cast[2] as string)];
    if (from === undefined || to === undefined) return undefined;
    return {
      name: '',
      text: of,
      parameters: [from.oid],
      result: to.oid,
      isVariadic: false,
      defaults: 0,
      isSet: false,
      kind: 'function',
      isStrict: true,
    };
  }
  const parts = of.split(' ');
  const name = (parts.length === 3 ? parts[1] : parts[0]) as string;
  return operatorsOf(name, parts.length - 1).find((each) => each.text === of);
}

/** Makes all rows that have a function callable on this connection. */
export function registerProofs(sqlite: Sqlite): void {
  for (const { rows } of FAMILIES) {
    for (const row of rows) {
      if (row.js === undefined) continue;
      const signature = signatureOf(row.of);
      if (signature === undefined) throw new RangeError(`${row.of} is not a signature`);
      const { lax = false } = row;
      const js = row.js as (...values: readonly unknown[]) => unknown;
      const encode = isPolymorphic(signature.result) ? null : encoderOf(signature.result);
      const decoders = signature.parameters.map(decoderOf);
      sqlite.function(row.of, (...raw) => {
        if (!lax && raw.includes(null)) return null;
        const values: unknown[] = [];
        for (const [index, value] of raw.entries()) {
          const decode = decoders[index] ?? (decoders[decoders.length - 1] as (typeof decoders)[number]);
          values.push(value === null ? null : decode(value));
        }
        const result = js(...values);
        if (result === null) return null;
        return encode === null ? (result as string) : encode(result);
      });
    }
  }
}
