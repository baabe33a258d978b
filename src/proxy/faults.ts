// Faults of the proxy. For the operator:
//
//   pool-wait-timeout     53300: no server connection within query_wait_timeout; raise the pool or look for idle transactions
//   pool-queue-full       53300: too many clients wait already
//   tenant-overdue        53300, or 53400 when queries per second are limited: a tenant's client waited longer than query_wait_timeout
//   tenant-queue-full     53300: max_waiting of the tenant is reached
//   tenant-connections    53300: max_connections of the tenant is reached
//   tenant-unknown        42704: SET for a tenant that does not exist
//   option-invalid        22023: SET with a value that the setting cannot have
//   too-many-clients      53300: max_client_conn (or a database's, or a user's) is reached
//   database-unknown      3D000: the config names no such database
//   database-disabled     57P03: DISABLE was given on the admin console
//   login-rejected        28P01/28000: the client did not prove who it is; the log says why
//   login-timeout         08P01: the client took longer than client_login_timeout
//   server-lost           08006: the server connection broke while a statement ran; it may or may not have been executed
//   server-unavailable    08001: no server of the wanted role could be reached
//   settings-not-applied  the client's session settings cannot be set on a server connection
//   client-timeout        57P05, 25P03, 57014: client_idle_timeout, idle_transaction_timeout, query_timeout, transaction_timeout
//   canceled              57014: the client cancelled while it waited
//   statement-mode        0A000: a transaction block in statement pooling mode
//   shutting-down         57P01: the proxy stops
//   proxy-config          a value of the proxy's configuration is wrong

import { Fault } from '../base/fault.ts';

export function waitTimeout(waitedMs: number): Fault {
  return new Fault('pool-wait-timeout', {
    message: `no server connection became free within ${Math.round(waitedMs)} ms (query_wait_timeout)`,
    hint: 'raise the pool size, or look for idle transactions with SHOW CLIENTS on the admin database',
    sqlstate: '53300',
    retryable: true,
  });
}

export function queueFull(countMax: number): Fault {
  return new Fault('pool-queue-full', {
    message: `${countMax} clients wait for a server connection already`,
    hint: 'try again later, or raise the pool size',
    sqlstate: '53300',
    retryable: true,
  });
}

export function tenantQueueFull(tenant: string, countMax: number): Fault {
  return new Fault('tenant-queue-full', {
    message: `${countMax} clients of tenant ${tenant} wait already (max_waiting)`,
    hint: 'try again later; SHOW TENANTS on the admin database tells what holds them up',
    sqlstate: '53300',
    retryable: true,
  });
}

export function tenantOverdue(
  tenant: string,
  waitedMs: number,
  { why, hint, isRate }: { readonly why: string; readonly hint: string; readonly isRate: boolean },
): Fault {
  return new Fault('tenant-overdue', {
    message: `tenant ${tenant} had no turn within ${Math.round(waitedMs)} ms (query_wait_timeout): ${why}`,
    hint,
    sqlstate: isRate ? '53400' : '53300',
    retryable: true,
  });
}

export function tenantConnections(tenant: string, countMax: number): Fault {
  return new Fault('tenant-connections', {
    message: `tenant ${tenant} has ${countMax} clients already (max_connections)`,
    hint: `close some, or SET tenant.${tenant}.max_connections on the admin database`,
    sqlstate: '53300',
    retryable: true,
  });
}

export function serverLost(reason: string): Fault {
  return new Fault('server-lost', {
    message: `the connection to the server was lost: ${reason}`,
    hint: 'the statement may or may not have been executed',
    sqlstate: '08006',
    retryable: true,
  });
}

export function clientTimeout(sqlstate: string, option: string): Fault {
  return new Fault('client-timeout', { message: `terminating connection due to ${option}`, sqlstate });
}

export function shuttingDown(): Fault {
  return new Fault('shutting-down', {
    message: 'terminating connection because the proxy is shutting down',
    sqlstate: '57P01',
    retryable: true,
  });
}

export function violation(message: string): Fault {
  return new Fault('protocol-violation', { message, sqlstate: '08P01' });
}

export function canceled(): Fault {
  return new Fault('canceled', { message: 'canceling statement due to user request', sqlstate: '57014' });
}

export function statementMode(): Fault {
  return new Fault('statement-mode', {
    message: 'transaction blocks are not allowed in statement pooling mode',
    hint: 'use pool_mode transaction',
    sqlstate: '0A000',
  });
}
