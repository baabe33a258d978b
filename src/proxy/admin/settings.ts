// Options by PgBouncer's names: SHOW CONFIG, and SET at run time (until the next RELOAD).

import { Fault } from '../../base/fault.ts';
import type { ProxyConfig } from '../config.ts';
import type { Proxy } from '../proxy.ts';

type Key = keyof ProxyConfig;

/** PgBouncer's name, ours, and what a unit of theirs is in ours (seconds are milliseconds). */
const OPTIONS: readonly (readonly [name: string, key: Key, factor: number, settable: boolean])[] = [
  ['pool_mode', 'poolMode', 0, false],
  ['auth_type', 'authType', 0, false],
  ['auth_user', 'authUser', 0, false],
  ['max_client_conn', 'clientConnectionsMax', 1, true],
  ['default_pool_size', 'poolSize', 1, true],
  ['min_pool_size', 'poolSizeMin', 1, true],
  ['reserve_pool_size', 'reservePoolSize', 1, true],
  ['reserve_pool_timeout', 'reservePoolTimeoutMs', 1000, true],
  ['max_db_connections', 'databaseConnectionsMax', 1, false],
  ['max_user_connections', 'userConnectionsMax', 1, false],
  ['max_prepared_statements', 'preparedMax', 1, true],
  ['query_wait_timeout', 'queryWaitTimeoutMs', 1000, true],
  ['query_timeout', 'queryTimeoutMs', 1000, true],
  ['idle_transaction_timeout', 'idleTransactionTimeoutMs', 1000, true],
  ['transaction_timeout', 'transactionTimeoutMs', 1000, true],
  ['client_idle_timeout', 'clientIdleTimeoutMs', 1000, true],
  ['client_login_timeout', 'clientLoginTimeoutMs', 1000, true],
  ['server_idle_timeout', 'serverIdleTimeoutMs', 1000, true],
  ['server_lifetime', 'serverLifetimeMs', 1000, true],
  ['server_connect_timeout', 'serverConnectTimeoutMs', 1000, true],
  ['server_tls_sslmode', 'serverSslMode', 0, false],
  ['slow_query', 'slowQueryMs', 1000, true],
  ['replica_lag_low', 'lagBytesLow', 1, true],
  ['replica_lag_max', 'lagBytesMax', 1, true],
];

export const SETTABLE: readonly string[] = OPTIONS.filter(([, , , settable]) => settable).map(([name]) => name);

export function configRows(config: ProxyConfig): (readonly [string, string, string, string])[] {
  return OPTIONS.map(([name, key, factor, settable]) => {
    const value = config[key];
    const text = factor === 0 && typeof value === 'string' ? value : String(Number(value) / factor);
    return [name, text, '', settable ? 'yes' : 'no'] as const;
  });
}

export interface TenantSetting {
  readonly tenant: string;
  readonly key: string;
  readonly value: string;
}

/** `SET tenant.NAME.KEY = VALUE`; null for any other text. A name may hold dots and slashes, and have quotes around it. */
export function tenantSettingOf(text: string): TenantSetting | null {
  const found = /^\s*set\s+tenant\.(?:"([^"]+)"|(\S+))\.([a-z_]+)\s*(?:=|\bto\b)\s*'?([^\s';]*)'?\s*;?\s*$/i.exec(text);
  if (found === null) return null;
  const [, quoted, plain, key = '', value = ''] = found;
  return { tenant: quoted ?? plain ?? '', key: key.toLowerCase(), value };
}

/** The name under which a worker that starts later is told of it. */
export function nameOf({ tenant, key }: TenantSetting): string {
  return `${TENANT_PREFIX}${tenant}.${key}`;
}

const TENANT_PREFIX = 'tenant.';

/** Of a worker that starts after the SET. Throws a Fault. */
export function rememberOption(proxy: Proxy, name: string, value: string): void {
  const setting = tenantSettingOf(`set ${name} = ${value}`);
  if (name.startsWith(TENANT_PREFIX) && setting !== null) proxy.tenants.remember(setting.tenant, setting.key, value);
  else setOption(proxy, name, value);
}

/** What stays over RELOAD. */
export function isLasting(name: string): boolean {
  return name.startsWith(TENANT_PREFIX);
}

/** Throws a Fault for an unknown name or a value that is not a number. */
export function setOption(proxy: Proxy, name: string, value: string): void {
  const found = OPTIONS.find(([known, , , settable]) => known === name && settable);
  const number = Number(value);
  if (found === undefined || value === '' || !Number.isFinite(number) || number < 0) {
    throw new Fault('option-unknown', {
      message: found === undefined ? `unknown or fixed option "${name}"` : `invalid value for "${name}": ${value}`,
      hint: `SET ${SETTABLE.join(' | ')} = NUMBER`,
      sqlstate: '22023',
    });
  }
  proxy.config = { ...proxy.config, [found[1]]: number * found[2] };
}
