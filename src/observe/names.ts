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

export const RELAY_LAG_BYTES: MetricDeclaration = {
  name: 'skerry_relay_lag_bytes',
  kind: 'gauge',
  help: 'Write-ahead log of the upstream that is not yet durable here.',
};

export const RELAY_LOG_BYTES: MetricDeclaration = {
  name: 'skerry_relay_log_bytes',
  kind: 'gauge',
  help: 'Size of the relay log on disk, large transactions included.',
};

export const RELAY_PLACEMENT_LOG_BYTES: MetricDeclaration = {
  name: 'skerry_relay_placement_log_bytes',
  kind: 'gauge',
  help: 'Size of the logs of all placements on disk.',
};

export const RELAY_SUBSCRIBERS: MetricDeclaration = {
  name: 'skerry_relay_subscribers',
  kind: 'gauge',
  help: 'Subscribers that are being streamed to, the own replica included.',
};

export const RELAY_UPSTREAM_CONNECTED: MetricDeclaration = {
  name: 'skerry_relay_upstream_connected',
  kind: 'gauge',
  help: '1 while the upstream streams to this relay.',
};

export const EDGE_ANSWERS_TOTAL: MetricDeclaration = {
  name: 'skerry_edge_answers_total',
  kind: 'counter',
  help: 'Statements answered, by where: local, forwarded to the core and why, or remembered from the core while it is away.',
};

export const EDGE_CONNECTIONS: MetricDeclaration = {
  name: 'skerry_edge_connections',
  kind: 'gauge',
  help: 'Client sessions of this edge.',
};

export const EDGE_UPSTREAM_CONNECTIONS: MetricDeclaration = {
  name: 'skerry_edge_upstream_connections',
  kind: 'gauge',
  help: 'Connections of this edge to the core for forwarded statements.',
};

export const EDGE_SNAPSHOTS: MetricDeclaration = {
  name: 'skerry_edge_snapshots',
  kind: 'gauge',
  help: 'Transaction blocks that keep a snapshot of the replica, in the first process of this edge.',
};

export const EDGE_CURSOR_BYTES: MetricDeclaration = {
  name: 'skerry_edge_cursor_bytes',
  kind: 'gauge',
  help: 'Rows of open cursors that lie in files, in bytes, in the first process of this edge.',
};

const PROXY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

export const PROXY_QUERY_SECONDS: MetricDeclaration = {
  name: 'skerry_proxy_query_seconds',
  kind: 'histogram',
  help: 'From the first byte of a request to its ReadyForQuery, waiting included.',
  buckets: PROXY_SECONDS,
};

export const PROXY_WAIT_SECONDS: MetricDeclaration = {
  name: 'skerry_proxy_wait_seconds',
  kind: 'histogram',
  help: 'Time that a client waited for a server connection.',
  buckets: PROXY_SECONDS,
};

export const PROXY_TENANT_QUERY_SECONDS: MetricDeclaration = {
  name: 'skerry_proxy_tenant_query_seconds',
  kind: 'histogram',
  help: 'Time that the servers worked for a statement or pipeline segment, by tenant. Tenants beyond the first hundred share "other".',
  buckets: PROXY_SECONDS,
};

export const PROXY_TENANT_WAIT_SECONDS: MetricDeclaration = {
  name: 'skerry_proxy_tenant_wait_seconds',
  kind: 'histogram',
  help: 'Time that clients of a tenant waited for permission to run; those that did not wait are not counted.',
  buckets: PROXY_SECONDS,
};

export const PROXY_TENANT_IN_FLIGHT: MetricDeclaration = {
  name: 'skerry_proxy_tenant_in_flight',
  kind: 'gauge',
  help: 'Transactions of a tenant that are under way.',
};

export const PROXY_TENANT_WAITING: MetricDeclaration = {
  name: 'skerry_proxy_tenant_waiting',
  kind: 'gauge',
  help: 'Clients of a tenant that wait for permission to run.',
};

export const PROXY_TENANT_LIMIT: MetricDeclaration = {
  name: 'skerry_proxy_tenant_limit',
  kind: 'gauge',
  help: 'Statements of a tenant that may be at work at once, over all servers.',
};

export const RELAY_TRANSACTIONS_ENCODED: MetricDeclaration = {
  name: 'skerry_relay_transactions_encoded_total',
  kind: 'counter',
  help: 'Transactions put into the form in which subscribers get them: once each, and once more without logical messages if somebody wants that.',
};

export const PROXY_CLIENT_CONNECTIONS: MetricDeclaration = {
  name: 'skerry_proxy_client_connections',
  kind: 'gauge',
  help: 'Clients that are logged in to the proxy.',
};

export const PROXY_CLIENTS_WAITING: MetricDeclaration = {
  name: 'skerry_proxy_clients_waiting',
  kind: 'gauge',
  help: 'Clients that wait for a server connection.',
};

export const PROXY_QUERIES: MetricDeclaration = {
  name: 'skerry_proxy_queries_total',
  kind: 'counter',
  help: 'Requests answered: simple queries, and pipelines up to their Sync.',
};

export const PROXY_TRANSACTIONS: MetricDeclaration = {
  name: 'skerry_proxy_transactions_total',
  kind: 'counter',
  help: 'Times that a server connection was given back: transactions, in session mode sessions.',
};

export const PROXY_BYTES: MetricDeclaration = {
  name: 'skerry_proxy_bytes_total',
  kind: 'counter',
  help: 'Bytes from clients (received) and to them (sent).',
};

export const PROXY_WAITING_BYTES: MetricDeclaration = {
  name: 'skerry_proxy_waiting_bytes',
  kind: 'gauge',
  help: 'Bytes that clients have sent which wait for a server connection.',
};

export const PROXY_WORKERS: MetricDeclaration = {
  name: 'skerry_proxy_workers',
  kind: 'gauge',
  help: 'Processes of the proxy that serve clients, and those that only let theirs finish.',
};

export const PROXY_WORKER_RESTARTS: MetricDeclaration = {
  name: 'skerry_proxy_worker_restarts_total',
  kind: 'counter',
  help: 'Workers of the proxy that were started in place of one that died.',
};

export const PROXY_SERVER_CONNECTIONS: MetricDeclaration = {
  name: 'skerry_proxy_server_connections',
  kind: 'gauge',
  help: 'Connections of the proxy to Postgres servers, by whether somebody uses them.',
};
