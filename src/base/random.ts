// The seam to chance. Production gets the system's generator, the simulator a seeded one.

export interface Random {
  /** In [0, 1). */
  float(): number;
  /** `length` bytes; cryptographically strong in production. */
  bytes(length: number): Uint8Array;
}

/** A whole number in [0, below). */
export function randomInt(random: Random, below: number): number {
  return Math.floor(random.float() * below);
}
