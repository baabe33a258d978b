// Assertions are for our own mistakes; bytes from a peer are refused with a Fault instead.

/** Throws when `condition` is false: the program, not its input, is wrong. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** The value, which must be there. */
export function must<T>(value: T | null | undefined, message = 'value is missing'): T {
  if (value === null || value === undefined) throw new Error(`assertion failed: ${message}`);
  return value;
}

/** The default branch of an exhaustive switch: does not compile while a case is missing. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
