// Tells a client of reported settings that changed, once, right before the next ReadyForQuery, as Postgres does it.

import { writeParameterStatus } from '../wire/backend.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import { type SessionSettings, settingDisplayName } from './settings.ts';

export class SettingReports {
  readonly #settings: SessionSettings;
  /** What the client was told; null while that is what holds. */
  #told: Map<string, string> | null = null;
  #due = false;

  constructor(settings: SessionSettings) {
    this.#settings = settings;
  }

  /** Does something to the settings that the client has to learn of. */
  change(change: () => void): void {
    this.#told ??= new Map(this.#settings.reported());
    this.#due = true;
    change();
  }

  /** The core has just told the client of a setting: `change` takes it over here. */
  relayed(name: string, value: string, change: () => void): void {
    this.#told ??= new Map(this.#settings.reported());
    this.#told.set(settingDisplayName(name), value);
    change();
  }

  write(out: ByteWriter): void {
    if (!this.#due || this.#told === null) return;
    this.#due = false;
    for (const [name, value] of this.#settings.reported()) {
      if (this.#told.get(name) === value) continue;
      this.#told.set(name, value);
      writeParameterStatus(out, name, value);
    }
  }
}
