// One request that the edge served, as every source of them gives it: access logs now, the PoPs' shippers later.

export interface HttpEvent {
  readonly zone: string;
  /** Event time, ms since the epoch: buckets are made of it, never of the time of arrival. */
  readonly atMs: number;
  /** What tells visitors apart: an address as a rule. */
  readonly client: string;
  readonly method: string;
  readonly status: number;
  readonly bytes: number;
  readonly cached: boolean;
  readonly threat: boolean;
  /** Null when the source does not say. */
  readonly latencyMs: number | null;
  /** '' when not known: then it counts in no bucket of the dimension. */
  readonly country: string;
  readonly colo: string;
  readonly contentType: string;
}

/** What sparse counters are kept by. */
export const DIMENSIONS = ['country', 'status', 'colo', 'method', 'content_type'] as const;

export type Dimension = (typeof DIMENSIONS)[number];
