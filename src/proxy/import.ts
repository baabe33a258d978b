// Reads a pgbouncer.ini and writes what it means in our words. What has no counterpart is listed, never dropped in silence.

import { ROUTE_MAX } from './workers/cancel-key.ts';

export interface Imported {
  /** The `proxy:` section of a configuration file. */
  readonly yaml: string;
  /** One sentence for each thing that was not carried over, or changed its meaning. */
  readonly notes: readonly string[];
}

type Kind = 'number' | 'seconds' | 'text' | 'list' | 'file';

/** PgBouncer's name → ours, and how its value is written. */
const OPTIONS: Readonly<Record<string, readonly [key: string, kind: Kind]>> = {
  listen_port: ['port', 'number'],
  pool_mode: ['pool_mode', 'text'],
  max_client_conn: ['max_client_conn', 'number'],
  default_pool_size: ['default_pool_size', 'number'],
  min_pool_size: ['min_pool_size', 'number'],
  reserve_pool_size: ['reserve_pool_size', 'number'],
  reserve_pool_timeout: ['reserve_pool_timeout', 'seconds'],
  max_db_connections: ['max_db_connections', 'number'],
  max_user_connections: ['max_user_connections', 'number'],
  max_prepared_statements: ['max_prepared_statements', 'number'],
  query_wait_timeout: ['query_wait_timeout', 'seconds'],
  query_timeout: ['query_timeout', 'seconds'],
  idle_transaction_timeout: ['idle_transaction_timeout', 'seconds'],
  transaction_timeout: ['transaction_timeout', 'seconds'],
  client_idle_timeout: ['client_idle_timeout', 'seconds'],
  client_login_timeout: ['client_login_timeout', 'seconds'],
  server_idle_timeout: ['server_idle_timeout', 'seconds'],
  server_lifetime: ['server_lifetime', 'seconds'],
  server_connect_timeout: ['server_connect_timeout', 'seconds'],
  auth_file: ['users_file', 'file'],
  auth_hba_file: ['auth_hba_file', 'file'],
  auth_user: ['auth_user', 'text'],
  auth_query: ['auth_query', 'text'],
  admin_users: ['admin_users', 'list'],
  stats_users: ['stats_users', 'list'],
  ignore_startup_parameters: ['ignore_startup_parameters', 'list'],
  client_tls_cert_file: ['tls_cert_file', 'file'],
  client_tls_key_file: ['tls_key_file', 'file'],
  client_tls_ca_file: ['tls_ca_file', 'file'],
  server_tls_sslmode: ['server_tls_sslmode', 'text'],
  server_tls_ca_file: ['server_tls_ca_file', 'file'],
  server_tls_cert_file: ['server_tls_cert_file', 'file'],
  server_tls_key_file: ['server_tls_key_file', 'file'],
};

const DATABASE_KEYS: Readonly<Record<string, readonly [key: string, kind: Kind]>> = {
  dbname: ['dbname', 'text'],
  user: ['user', 'text'],
  pool_mode: ['pool_mode', 'text'],
  pool_size: ['pool_size', 'number'],
  min_pool_size: ['min_pool_size', 'number'],
  reserve_pool: ['reserve_pool_size', 'number'],
  reserve_pool_size: ['reserve_pool_size', 'number'],
  max_db_connections: ['max_db_connections', 'number'],
  max_db_client_connections: ['max_db_client_connections', 'number'],
  auth_user: ['auth_user', 'text'],
  auth_query: ['auth_query', 'text'],
};

const USER_KEYS: Readonly<Record<string, readonly [key: string, kind: Kind]>> = {
  pool_mode: ['pool_mode', 'text'],
  pool_size: ['pool_size', 'number'],
  max_user_connections: ['max_user_connections', 'number'],
  max_user_client_connections: ['max_user_client_connections', 'number'],
};

/** Options that need nothing here, because it is always so or has no meaning. */
const NEEDLESS: ReadonlySet<string> = new Set(
  `logfile pidfile unix_socket_dir unix_socket_mode unix_socket_group syslog syslog_ident syslog_facility log_connections
  log_disconnections log_pooler_errors log_stats stats_period verbose pkt_buf sbuf_loopcnt listen_backlog max_packet_size
  tcp_defer_accept tcp_keepalive tcp_socket_buffer tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_user_timeout
  application_name_add_host server_round_robin server_check_delay server_check_query server_fast_close dns_max_ttl
  dns_nxdomain_ttl dns_zone_check_period resolv_conf conffile service_name job_name user disable_pqexec
  track_extra_parameters server_login_retry cancel_wait_timeout suspend_timeout autodb_idle_timeout query_wait_notify
  server_reset_query_always`.split(/\s+/),
);

/** `read` gives the text of a file that the ini includes, or null. */
export function importPgBouncer(text: string, read: (path: string) => string | null): Imported {
  const notes: string[] = [];
  const proxy: string[] = [];
  const databases: string[] = [];
  const users: string[] = [];
  const peers: string[] = [];
  const tenants: string[] = [];
  for (const { section, key, value } of readIni(text, read, notes, 0)) {
    if (section === 'databases') databases.push(...databaseLines(key, value, notes));
    else if (section === 'users') users.push(...userLines(key, value, notes));
    else if (section === 'peers') peers.push(...peerLines(key, value, notes));
    else if (section === 'pools') tenants.push(...poolLines(key, value, notes));
    else if (section === 'pgbouncer') proxy.push(...optionLines(key, value, notes));
    else notes.push(`section [${section}] has no counterpart (${key})`);
  }
  // PgBouncer's default differs from ours, so silence means something.
  if (!proxy.some((line) => line.startsWith('  pool_mode:'))) proxy.push('  pool_mode: session');
  const lines = ['proxy:', ...proxy];
  if (databases.length > 0) lines.push('  databases:', ...databases);
  if (users.length > 0) lines.push('  users:', ...users);
  if (peers.length > 0) lines.push('  peers:', ...peers);
  if (tenants.length > 0) lines.push('  tenants:', ...tenants);
  return { yaml: `${lines.join('\n')}\n`, notes };
}

interface Entry {
  readonly section: string;
  readonly key: string;
  readonly value: string;
}

const INCLUDES_MAX = 10;

function readIni(text: string, read: (path: string) => string | null, notes: string[], depth: number): Entry[] {
  const entries: Entry[] = [];
  let section = 'pgbouncer';
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    if (line === '' || line.startsWith(';') || line.startsWith('#')) continue;
    const include = /^%include\s+(.+)$/.exec(line)?.[1];
    if (include !== undefined) {
      const included = depth < INCLUDES_MAX ? read(include) : null;
      if (included === null) notes.push(`%include ${include} could not be read`);
      else entries.push(...readIni(included, read, notes, depth + 1));
      continue;
    }
    const header = /^\[(\w+)\]$/.exec(line)?.[1];
    if (header !== undefined) {
      section = header;
      continue;
    }
    const equals = line.indexOf('=');
    if (equals === -1) notes.push(`not understood: ${line}`);
    else entries.push({ section, key: unquote(line.slice(0, equals).trim()), value: line.slice(equals + 1).trim() });
  }
  return entries;
}

function optionLines(key: string, value: string, notes: string[]): string[] {
  const known = OPTIONS[key];
  if (known !== undefined) return [`  ${known[0]}: ${yaml(value, known[1])}`];
  if (key === 'listen_addr') {
    const [first = '127.0.0.1', ...more] = value.split(',').map((one) => one.trim());
    if (more.length > 0) notes.push(`listen_addr: only ${first} is listened on, not ${more.join(', ')}`);
    return [`  host: ${yaml(first === '*' ? '0.0.0.0' : first, 'text')}`];
  }
  if (key === 'auth_type') {
    const method = value === 'plain' || value === 'any' ? 'scram-sha-256' : value;
    if (method !== value) notes.push(`auth_type ${value} is not safe and became scram-sha-256`);
    if (!['scram-sha-256', 'md5', 'cert', 'trust', 'hba'].includes(method)) {
      notes.push(`auth_type ${value} has no counterpart and became scram-sha-256`);
      return ['  auth_type: scram-sha-256'];
    }
    return [`  auth_type: ${method}`];
  }
  if (key === 'peer_id') {
    if (isPeerId(value)) return [`  peer_id: ${value}`];
    if (value !== '0') notes.push(`peer_id ${value}: numbers of peers go from 1 to ${ROUTE_MAX}`);
    return [];
  }
  if (key === 'so_reuseport') {
    if (value !== '0')
      notes.push('so_reuseport: say `workers: N` for N processes; they are one proxy, with limits over all of them');
    return [];
  }
  if (key === 'server_reset_query') {
    if (value !== 'DISCARD ALL')
      notes.push(`server_reset_query "${value}": DISCARD ALL is always used in session mode`);
    return [];
  }
  if (key === 'client_tls_sslmode') {
    if (value !== 'disable')
      notes.push(
        `client_tls_sslmode ${value}: TLS is offered when tls_cert_file is given; demand it with hostssl lines in auth_hba_file`,
      );
    return [];
  }
  if (!NEEDLESS.has(key)) notes.push(`${key} = ${value} has no counterpart`);
  return [];
}

function databaseLines(name: string, value: string, notes: string[]): string[] {
  const settings = readConnectionString(value);
  const fields: string[] = [];
  const port = settings.get('port') ?? '5432';
  const hosts = (settings.get('host') ?? '127.0.0.1').split(',');
  settings.delete('host');
  settings.delete('port');
  fields.push(
    `servers: [${hosts.map((host) => yaml(`${host.includes(':') ? `[${host}]` : host}:${port}`, 'text')).join(', ')}]`,
  );
  for (const [key, given] of settings) {
    const known = DATABASE_KEYS[key];
    if (known !== undefined) fields.push(`${known[0]}: ${yaml(given, known[1])}`);
    else if (key === 'password')
      notes.push(`database ${name}: put its password into a file and name it with password_file`);
    else notes.push(`database ${name}: ${key} has no counterpart`);
  }
  return [`    ${yaml(name, 'text')}:`, ...fields.map((field) => `      ${field}`)];
}

function userLines(name: string, value: string, notes: string[]): string[] {
  const fields: string[] = [];
  for (const [key, given] of readConnectionString(value)) {
    const known = USER_KEYS[key];
    if (known === undefined) notes.push(`user ${name}: ${key} has no counterpart`);
    else fields.push(`${known[0]}: ${yaml(given, known[1])}`);
  }
  return fields.length === 0 ? [] : [`    ${yaml(name, 'text')}:`, ...fields.map((field) => `      ${field}`)];
}

/** Cloudflare's fork limits one user on one database: `[pools] user.db = pool_size=n`. That is a tenant here. */
function poolLines(name: string, value: string, notes: string[]): string[] {
  const dot = name.indexOf('.');
  const size = readConnectionString(value).get('pool_size') ?? '';
  if (dot === -1 || !/^\d+$/.test(size)) {
    notes.push(`pool ${name}: expected user.database = pool_size=NUMBER`);
    return [];
  }
  const tenant = `${name.slice(dot + 1)}/${name.slice(0, dot)}`;
  return [`    ${yaml(tenant, 'text')}:`, `      pool_size: ${size}`];
}

/** In PgBouncer the processes of one host are peers as well; here they need no list. */
function peerLines(name: string, value: string, notes: string[]): string[] {
  const settings = readConnectionString(value);
  const host = settings.get('host') ?? '';
  if (host.startsWith('/')) {
    notes.push(`peer ${name}: several processes on one host are \`workers: N\` and need no peers`);
    return [];
  }
  if (!isPeerId(name)) {
    notes.push(`peer ${name}: numbers of peers go from 1 to ${ROUTE_MAX}`);
    return [];
  }
  notes.push(`peer ${name}: cancel requests go to it over TLS, unless you say sslmode: disable`);
  const port = settings.get('port') ?? '6432';
  return [`    "${name}":`, `      host: ${yaml(host, 'text')}`, `      port: ${yaml(port, 'number')}`];
}

function isPeerId(text: string): boolean {
  return /^\d{1,2}$/.test(text) && Number(text) >= 1 && Number(text) <= ROUTE_MAX;
}

/** `key=value key='quoted value'`. */
function readConnectionString(text: string): Map<string, string> {
  const settings = new Map<string, string>();
  for (const found of text.matchAll(/(\w+)\s*=\s*(?:'((?:[^']|'')*)'|(\S+))/g)) {
    settings.set(found[1] as string, found[2]?.replaceAll("''", "'") ?? found[3] ?? '');
  }
  return settings;
}

function yaml(value: string, kind: Kind): string {
  switch (kind) {
    case 'number':
      return value;
    case 'seconds':
      return Number(value) === 0 ? '0' : `${Math.round(Number(value) * 1000)}ms`;
    case 'list':
      return `[${value
        .split(',')
        .map((one) => yaml(one.trim(), 'text'))
        .join(', ')}]`;
    case 'text':
    case 'file':
      return /^[A-Za-z0-9_./-]+$/.test(value) && !/^(?:true|false|yes|no|on|off|null|[\d.]+)$/i.test(value)
        ? value
        : JSON.stringify(value);
  }
}

function unquote(text: string): string {
  return text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
}
