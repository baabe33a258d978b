// Where to connect and as whom: reads postgres:// URLs and libpq's `key=value` strings.

import { Fault } from '../base/fault.ts';
import { Secret } from '../base/secret.ts';

export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
export type TargetSessionAttrs = 'any' | 'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby';

export interface HostPort {
  /** A name, an address, or a directory of unix sockets when it begins with "/". */
  readonly host: string;
  readonly port: number;
}

/** PEM texts. */
export interface TlsTexts {
  /** CAs to trust; the system's when not given. */
  readonly ca?: string;
  /** Our own certificate and its key, when the server asks for one. */
  readonly cert?: string;
  readonly key?: string;
}

export interface ConnectionTarget {
  /** Tried in this order; at least one. */
  readonly hosts: readonly HostPort[];
  readonly user: string;
  readonly password: Secret | null;
  readonly database: string;
  readonly sslMode: SslMode;
  /** `direct` starts with TLS at once (PostgreSQL 17 and later). */
  readonly sslNegotiation: 'postgres' | 'direct';
  readonly channelBinding: 'disable' | 'prefer' | 'require';
  /** Path of a PEM file, or `system`; null = the system's CAs. */
  readonly sslRootCert: string | null;
  readonly sslCert: string | null;
  readonly sslKey: string | null;
  /** Contents of those files: `withTlsFiles` reads them; a string alone cannot. */
  readonly tls: TlsTexts;
  readonly targetSessionAttrs: TargetSessionAttrs;
  /** For each host: TCP, TLS and login together. */
  readonly connectTimeoutMs: number;
  /** Startup parameters: application_name, options, client_encoding … */
  readonly parameters: Readonly<Record<string, string>>;
}

export interface ConnectionDefaults {
  /** When the string names none; libpq would take the operating system's user. */
  readonly user?: string;
  readonly applicationName?: string;
}

const PORT_DEFAULT = 5432;
const CONNECT_TIMEOUT_MS = 10_000;

const SSL_MODES: readonly SslMode[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];
const SESSION_ATTRS: readonly TargetSessionAttrs[] = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
];

/** Throws Fault `connection-string-invalid`; its message never repeats the string, which may hold a password. */
export function parseConnectionString(text: string, defaults: ConnectionDefaults = {}): ConnectionTarget {
  const trimmed = text.trim();
  const settings = /^postgres(ql)?:\/\//i.test(trimmed) ? readUrl(trimmed) : readKeyValues(trimmed);
  return targetOf(settings, defaults);
}

/** `user@host:port/database`: for logs and errors, without the password. */
export function describeTarget(target: ConnectionTarget): string {
  const hosts = target.hosts.map(({ host, port }) => `${host}:${port}`).join(',');
  return `${target.user}@${hosts}/${target.database}`;
}

type Settings = Map<string, string>;

function targetOf(settings: Settings, defaults: ConnectionDefaults): ConnectionTarget {
  const take = (name: string): string | null => {
    const value = settings.get(name) ?? null;
    settings.delete(name);
    return value === '' ? null : value;
  };
  const user = take('user') ?? defaults.user ?? 'postgres';
  const password = take('password');
  const sslRootCert = take('sslrootcert');
  const sslMode = oneOf('sslmode', take('sslmode'), SSL_MODES, sslRootCert === 'system' ? 'verify-full' : 'prefer');
  const target: ConnectionTarget = {
    hosts: hostsOf(take('hostaddr') ?? take('host'), take('port')),
    user,
    password: password === null ? null : new Secret(password),
    database: take('dbname') ?? user,
    sslMode,
    sslNegotiation: oneOf('sslnegotiation', take('sslnegotiation'), ['postgres', 'direct'], 'postgres'),
    channelBinding: oneOf('channel_binding', take('channel_binding'), ['disable', 'prefer', 'require'], 'prefer'),
    sslRootCert,
    sslCert: take('sslcert'),
    sslKey: take('sslkey'),
    tls: {},
    targetSessionAttrs: oneOf('target_session_attrs', take('target_session_attrs'), SESSION_ATTRS, 'any'),
    connectTimeoutMs: timeoutOf(take('connect_timeout')),
    parameters: parametersOf(settings, defaults),
  };
  if (target.sslNegotiation === 'direct' && SSL_MODES.indexOf(target.sslMode) < SSL_MODES.indexOf('require')) {
    throw invalid('sslnegotiation=direct needs sslmode=require or stronger');
  }
  return target;
}

/** Settings that are known to libpq and change nothing here. */
const IGNORED: ReadonlySet<string> = new Set([
  'fallback_application_name',
  'keepalives',
  'keepalives_idle',
  'keepalives_interval',
  'keepalives_count',
  'tcp_user_timeout',
  'gssencmode',
  'krbsrvname',
  'sslcompression',
  'sslsni',
  'ssl_min_protocol_version',
  'ssl_max_protocol_version',
  'passfile',
  'load_balance_hosts',
]);

const PARAMETERS: ReadonlySet<string> = new Set(['application_name', 'options', 'client_encoding', 'replication']);

function parametersOf(settings: Settings, defaults: ConnectionDefaults): Record<string, string> {
  const parameters: Record<string, string> = {};
  const fallback = settings.get('fallback_application_name') ?? defaults.applicationName;
  if (fallback !== undefined) parameters['application_name'] = fallback;
  for (const [name, value] of settings) {
    if (IGNORED.has(name)) continue;
    if (!PARAMETERS.has(name)) throw invalid(`unknown setting "${name.slice(0, 40)}"`);
    parameters[name] = value;
  }
  return parameters;
}

function hostsOf(hostText: string | null, portText: string | null): HostPort[] {
  const hosts = (hostText ?? 'localhost').split(',').map((host) => host.trim() || 'localhost');
  const ports = (portText ?? '').split(',').map((port) => port.trim());
  if (ports.length > 1 && ports.length !== hosts.length) {
    throw invalid(`${ports.length} ports for ${hosts.length} hosts`);
  }
  return hosts.map((host, index) => ({ host, port: portOf(ports.length === 1 ? ports[0] : ports[index]) }));
}

function portOf(text: string | undefined): number {
  if (text === undefined || text === '') return PORT_DEFAULT;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) throw invalid(`invalid port "${text.slice(0, 20)}"`);
  return port;
}

/** connect_timeout is in seconds; 0 means no limit in libpq, here the default. */
function timeoutOf(text: string | null): number {
  if (text === null) return CONNECT_TIMEOUT_MS;
  const seconds = Number(text);
  if (!Number.isFinite(seconds)) throw invalid('connect_timeout is not a number');
  return seconds <= 0 ? CONNECT_TIMEOUT_MS : seconds * 1000;
}

function oneOf<T extends string>(name: string, value: string | null, allowed: readonly T[], otherwise: T): T {
  if (value === null) return otherwise;
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw invalid(`${name} must be one of ${allowed.join(', ')}`);
  return found;
}

const URL_PATTERN = /^postgres(?:ql)?:\/\/(?:([^@/?#]*(?:@[^@/?#]*)*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i;

function readUrl(text: string): Settings {
  const found = URL_PATTERN.exec(text);
  if (found === null) throw invalid('not a postgres:// URL');
  const [, credentials, authority, database, query] = found;
  const settings: Settings = new Map();
  if (credentials !== undefined) {
    const colon = credentials.indexOf(':');
    settings.set('user', decode(colon === -1 ? credentials : credentials.slice(0, colon)));
    if (colon !== -1) settings.set('password', decode(credentials.slice(colon + 1)));
  }
  readAuthority(authority ?? '', settings);
  if (database !== undefined && database !== '') settings.set('dbname', decode(database));
  for (const pair of (query ?? '').split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals === -1) throw invalid('a query parameter without "="');
    const name = decode(pair.slice(0, equals));
    // `ssl=true` is what JDBC and some drivers write.
    if (name === 'ssl') settings.set('sslmode', pair.slice(equals + 1) === 'true' ? 'require' : 'disable');
    else settings.set(name === 'database' ? 'dbname' : name, decode(pair.slice(equals + 1)));
  }
  return settings;
}

function readAuthority(authority: string, settings: Settings): void {
  if (authority === '') return;
  const hosts: string[] = [];
  const ports: string[] = [];
  for (const part of authority.split(',')) {
    const found = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(part);
    if (found === null) throw invalid('invalid host in URL');
    hosts.push(decode(found[1] ?? found[2] ?? ''));
    ports.push(found[3] ?? '');
  }
  if (hosts.some((host) => host !== '')) settings.set('host', hosts.join(','));
  if (ports.some((port) => port !== '')) settings.set('port', ports.join(','));
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid('invalid percent-encoding');
  }
}

const KEY_VALUE = /\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)/sy;

function readKeyValues(text: string): Settings {
  const settings: Settings = new Map();
  KEY_VALUE.lastIndex = 0;
  while (KEY_VALUE.lastIndex < text.length) {
    const found = KEY_VALUE.exec(text);
    if (found === null) throw invalid('expected key=value pairs or a postgres:// URL');
    const value = (found[2] ?? found[3] ?? '').replaceAll(/\\(.)/gs, '$1');
    settings.set((found[1] as string).toLowerCase(), value);
  }
  return settings;
}

function invalid(reason: string): Fault {
  return new Fault('connection-string-invalid', {
    message: `invalid connection string: ${reason}`,
    hint: 'write postgres://user:password@host:5432/database?sslmode=verify-full',
    sqlstate: '08001',
  });
}
