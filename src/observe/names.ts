// Every metric of the system, declared once: name with its unit, kind, help.

import type { MetricDeclaration } from './metrics.ts';

export const RELAY_POSITION_BYTES: MetricDeclaration = {
  name: 'skerry_relay_position_bytes',
  kind: 'gauge',
  help: 'End LSN of the last transaction that is durable in the relay log.',
};

export const EDGE_LAG_SECONDS: MetricDeclaration = {
  name: 'skerry_edge_lag_seconds',
  kind: 'gauge',
  help: 'Seconds since this edge last knew itself equal to its upstream.',
};
