// ParameterStatus values as a set that is never changed: clients and server connections share the same few objects, so that
// "does the client know them all" is one comparison.

import { type ByteWriter } from '../wire/bytes.ts';
import { writeParameterStatus } from '../wire/backend.ts';

export class Reported {
  readonly values: ReadonlyMap<string, string>;

  private constructor(values: ReadonlyMap<string, string>) {
    this.values = values;
  }

  static readonly none = new Reported(new Map());
  static readonly #interned = new Map<string, Reported>();

  static of(values: ReadonlyMap<string, string>): Reported {
    const key = [...values]
      .map(([name, value]) => `${name}\0${value}`)
      .sort()
      .join('\0\0');
    const known = Reported.#interned.get(key);
    if (known !== undefined) return known;
    if (Reported.#interned.size >= INTERNED_MAX) Reported.#interned.clear();
    const reported = new Reported(new Map(values));
    Reported.#interned.set(key, reported);
    return reported;
  }

  with(name: string, value: string): Reported {
    if (this.values.get(name) === value) return this;
    return Reported.of(new Map(this.values).set(name, value));
  }
}

const INTERNED_MAX = 5_000;

/** Appends what somebody who knows `from` must hear to know `to`. */
export function writeReportedChanges(writer: ByteWriter, from: Reported, to: Reported): void {
  if (from === to) return;
  for (const [name, value] of to.values) {
    if (from.values.get(name) !== value) writeParameterStatus(writer, name, value);
  }
}
