// Prepared statements and portals of one session. Maps are made when first used: most connections of an edge are idle.

import type { SqliteValue } from '../replica/sqlite.ts';
import type { Frame, Parameters } from './client-frames.ts';
import type { ColumnWriter } from './columns.ts';
import type { BoundValues } from './local.ts';
import type { SlowQuery } from './slow-lanes.ts';
import type { LocalPlan, Planned } from './sql/plan.ts';

/** A plan and what it was made under: it is good only while both are the same. */
export interface PlanStamp {
  readonly planned: Planned;
  /** `LocalEngine.version`. */
  readonly version: number;
  /** `PlanningSession.key`. */
  readonly key: string;
}

export interface PreparedStatement {
  readonly name: string;
  readonly sql: string;
  readonly parameterTypes: readonly number[];
  /** Renewed when the catalogue or search_path changed since. */
  stamp: PlanStamp;
  /** Result columns at Parse: the client counts on them. Null when the core knows them. */
  readonly columns: LocalPlan['columns'] | null;
  /** True when the core knows it under the same name. */
  upstream: boolean;
}

export interface Portal {
  /** Null when only the core knows the statement (PREPARE). */
  readonly statement: PreparedStatement | null;
  /** The statement's at Bind. */
  readonly stamp: PlanStamp | null;
  /** The Bind as it came, to repeat it upstream. */
  readonly bindFrame: Frame;
  upstream: boolean;
  readonly formats: readonly number[];
  /** As in Bind. */
  readonly parameters: Parameters;
  /** SQLite values; null when the core must judge a parameter. */
  readonly values: BoundValues | null;
  /** Rows read and not yet sent, when Execute had a limit. */
  rows: readonly SqliteValue[][] | null;
  writers: readonly ColumnWriter[] | null;
  rowsSent: number;
  slow: SlowQuery | null;
  done: boolean;
}

export class PreparedStatements {
  #statements: Map<string, PreparedStatement> | null = null;
  #portals: Map<string, Portal> | null = null;

  get size(): number {
    return this.#statements?.size ?? 0;
  }

  statement(name: string): PreparedStatement | undefined {
    return this.#statements?.get(name);
  }

  keep(statement: PreparedStatement): void {
    (this.#statements ??= new Map()).set(statement.name, statement);
  }

  /** True when there was one. */
  forget(name: string): boolean {
    return this.#statements?.delete(name) ?? false;
  }

  /** DEALLOCATE ALL: those with a name. */
  forgetAll(): void {
    for (const name of this.#statements?.keys() ?? []) if (name !== '') this.#statements?.delete(name);
  }

  portal(name: string): Portal | undefined {
    return this.#portals?.get(name);
  }

  openPortal(name: string, portal: Portal): void {
    this.dropPortal(name);
    (this.#portals ??= new Map()).set(name, portal);
  }

  dropPortal(name: string): void {
    const portal = this.#portals?.get(name);
    if (portal === undefined) return;
    portal.slow?.kill();
    this.#portals?.delete(name);
  }

  dropPortals(): void {
    if (this.#portals === null || this.#portals.size === 0) return;
    for (const portal of this.#portals.values()) portal.slow?.kill();
    this.#portals.clear();
  }

  /** A simple query destroys what has no name. */
  dropUnnamed(): void {
    this.#statements?.delete('');
    this.dropPortal('');
  }

  /** The core has forgotten its unnamed statement. */
  unnamedGone(): void {
    const unnamed = this.#statements?.get('');
    if (unnamed !== undefined) unnamed.upstream = false;
  }

  /** The connection to the core is gone, and what it held. */
  upstreamLost(): void {
    for (const statement of this.#statements?.values() ?? []) statement.upstream = false;
    for (const [name, portal] of this.#portals ?? []) if (portal.upstream) this.#portals?.delete(name);
  }
}

/** True when a client that was told of `before` can read rows of `after`. */
export function sameColumns(before: LocalPlan['columns'], after: LocalPlan['columns']): boolean {
  return (
    before.length === after.length &&
    before.every((column, index) => {
      const other = after[index];
      return column.name === other?.name && column.typeOid === other.typeOid && column.typmod === other.typmod;
    })
  );
}
