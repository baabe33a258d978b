// Placements: which tables, columns and rows a PoP may hold. Written by the operator, enforced by the relay (I4), known to the
// PoP as far as it concerns it.

/** What an operator writes. Items of `tables` are `schema.name [(column, …)] [WHERE condition]`; see replica/placement/syntax.ts. */
export interface PlacementSpec {
  readonly name: string;
  /** Identities of PoPs: common name of the certificate, or user. `*` is everybody whom no placement names. */
  readonly pops: readonly string[];
  /** `never`: a statement that this PoP cannot answer is refused, not forwarded. */
  readonly forward: ForwardPolicy;
  readonly tables: readonly string[];
}

export type ForwardPolicy = 'allow' | 'never';

/** A placement as the relay's replica has it in force. */
export interface PlacementInForce {
  readonly spec: PlacementSpec;
  /**
   * `name@LSN` of where its history begins. A change of its definition is a difference within that history; a replica of another
   * history (another placement, or everything) needs a snapshot.
   */
  readonly history: string;
  /** End LSN of the last change by which it lost something: what was derived before it may hold what it no longer allows. */
  readonly narrowedAt?: string;
}

/** What a restricted replica knows of its own placement. */
export interface OwnPlacement {
  readonly name: string;
  readonly history: string;
  readonly forward: ForwardPolicy;
}

/** Option of START_REPLICATION by which a replica says of which history it is; '' or absent: it holds everything. */
export const HISTORY_OPTION = 'skerry_placement';
