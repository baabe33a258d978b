// What each subscriber confirmed, remembered over restarts: retention waits for the slowest, and a client that does not say
// where it is goes on from here. Written seldom: being told an older position only keeps the log a little longer.

import type { Disk } from '../base/disk.ts';
import { formatLsn, type Lsn, parseLsn } from '../pg/lsn.ts';
import { slowest } from './subscription.ts';

export interface Slot {
  readonly name: string;
  readonly confirmedLsn: Lsn;
  readonly temporary: boolean;
  /** Of which placement's history it was when it was made; '' is everything. */
  readonly history: string;
}

/** More names than this are refused: each holds back retention. */
export const SLOTS_MAX = 100_000;

export class Slots {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #slots = new Map<string, { confirmedLsn: Lsn; temporary: boolean; history: string }>();
  #changed = false;

  private constructor(disk: Disk, path: string) {
    this.#disk = disk;
    this.#path = path;
  }

  /** A file that cannot be read counts as empty: positions are told again by whoever comes. */
  static async open(disk: Disk, path: string): Promise<Slots> {
    const slots = new Slots(disk, path);
    if (!(await disk.exists(path))) return slots;
    try {
      const stored = JSON.parse(await disk.readText(path)) as Record<string, string>;
      for (const [name, lsn] of Object.entries(stored)) {
        const [position = '', history = ''] = lsn.split(' ');
        slots.#slots.set(name, { confirmedLsn: parseLsn(position), temporary: false, history });
      }
    } catch {
      slots.#slots.clear();
    }
    return slots;
  }

  get(name: string): Slot | undefined {
    const slot = this.#slots.get(name);
    return slot === undefined ? undefined : { name, ...slot };
  }

  create(name: string, lsn: Lsn, temporary: boolean, history = ''): Slot {
    const slot = { confirmedLsn: lsn, temporary, history };
    if (this.#slots.size < SLOTS_MAX) this.#slots.set(name, slot);
    this.#changed = true;
    return { name, ...slot };
  }

  /** What it receives from now on is of this history. */
  belongs(name: string, history: string): void {
    const slot = this.#slots.get(name);
    if (slot === undefined || slot.history === history) return;
    slot.history = history;
    this.#changed = true;
  }

  drop(name: string): void {
    this.#changed = this.#slots.delete(name) || this.#changed;
  }

  /** Never moves backwards. */
  confirm(name: string, lsn: Lsn): void {
    const slot = this.#slots.get(name);
    if (slot === undefined || lsn <= slot.confirmedLsn) return;
    slot.confirmedLsn = lsn;
    this.#changed = true;
  }

  /** The slowest position, leaving out `except`; null when there is none. */
  slowest(except: string): Lsn | null {
    return slowest([...this.#slots].filter(([name]) => name !== except).map(([, slot]) => slot.confirmedLsn));
  }

  /** Forgets those whose position the log no longer has: they need a snapshot in any case. */
  dropBefore(lsn: Lsn): string[] {
    const gone = [...this.#slots].filter(([, slot]) => slot.confirmedLsn < lsn).map(([name]) => name);
    for (const name of gone) this.drop(name);
    return gone;
  }

  async save(): Promise<void> {
    if (!this.#changed) return;
    const stored: Record<string, string> = {};
    for (const [name, slot] of this.#slots) {
      if (!slot.temporary) stored[name] = `${formatLsn(slot.confirmedLsn)} ${slot.history}`.trim();
    }
    this.#changed = false;
    try {
      await this.#disk.writeTextAtomically(this.#path, JSON.stringify(stored));
    } catch (error) {
      this.#changed = true;
      throw error;
    }
  }
}
