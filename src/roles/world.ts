// The small world of `skerry up`, as data: which ports, folders, URLs and configuration each role gets. Pure.

import type { Config } from '../config/options.ts';
import { type ConnectionTarget, type HostPort, parseConnectionString } from '../session/connection-string.ts';

/** Offsets from the port base (design: "One command line"). */
const PORT_PROXY = 32;
const PORT_PROXY_READ = 33;
const PORT_PROXY_HTTP = 34;
const PORT_CORE = 40;
const PORT_RELAY = 50;
const PORT_RELAY_HTTP = 51;
const PORT_EDGES = 100;
const PORT_EDGES_STEP = 10;

export interface Place {
  readonly name: string;
  /** postgres:// URL without a password. */
  readonly pg: string;
  readonly http: string;
}

/** The proxy in front of the core. */
export interface ProxyPlace extends Place {
  /** Read only: replicas, where the core has some. */
  readonly pgRead: string;
}

/** What others need to know to talk to a running world: printed when it is ready, kept in `up.json`. */
export interface World {
  readonly pid: number;
  readonly dir: string;
  readonly core: {
    readonly embedded: boolean;
    /** Without the password. */
    readonly url: string;
    /** libpq password file, when the core is embedded. */
    readonly passFile: string | null;
  };
  /** The CA that signed the certificates of relay and edges; null when they do not use TLS. */
  readonly tls: { readonly ca: string } | null;
  readonly proxy: ProxyPlace;
  readonly relay: Place;
  readonly edges: readonly Place[];
}

export interface WorldPorts {
  readonly core: number;
  readonly proxy: number;
  readonly proxyRead: number;
  readonly proxyHttp: number;
  readonly relay: number;
  readonly relayHttp: number;
  readonly edges: readonly { readonly pg: number; readonly http: number }[];
}

export function worldPorts(base: number, edges: number): WorldPorts {
  return {
    core: base + PORT_CORE,
    proxy: base + PORT_PROXY,
    proxyRead: base + PORT_PROXY_READ,
    proxyHttp: base + PORT_PROXY_HTTP,
    relay: base + PORT_RELAY,
    relayHttp: base + PORT_RELAY_HTTP,
    edges: Array.from({ length: edges }, (_, index) => ({
      pg: base + PORT_EDGES + PORT_EDGES_STEP * index,
      http: base + PORT_EDGES + PORT_EDGES_STEP * index + 1,
    })),
  };
}

/** Highest port that a world of this size uses. */
export function portMax(base: number, edges: number): number {
  return base + (edges === 0 ? PORT_RELAY_HTTP : PORT_EDGES + PORT_EDGES_STEP * (edges - 1) + 1);
}

export interface WorldInput {
  readonly pid: number;
  /** Absolute. */
  readonly dir: string;
  readonly embedded: boolean;
  /** postgres:// URL of the core, with its password. */
  readonly coreUrl: string;
  readonly passFile: string | null;
  /** Folder with `ca.crt` and a certificate per role; null without TLS. */
  readonly certsDir: string | null;
  readonly ports: WorldPorts;
}

export function describeWorld(input: WorldInput): World {
  const { ports, certsDir } = input;
  const target = parseConnectionString(input.coreUrl);
  const ca = certsDir === null ? null : `${certsDir}/ca.crt`;
  const scheme = ca === null ? 'http' : 'https';
  const verified = ca === null ? '' : `?sslmode=verify-full&sslrootcert=${encodeURIComponent(ca)}`;
  const [user, database] = [encodeURIComponent(target.user), encodeURIComponent(target.database)];
  return {
    pid: input.pid,
    dir: input.dir,
    core: { embedded: input.embedded, url: shownUrl(target), passFile: input.passFile },
    tls: ca === null ? null : { ca },
    proxy: {
      name: 'proxy',
      pg: `postgres://${user}@127.0.0.1:${ports.proxy}/${database}${verified}`,
      pgRead: `postgres://${user}@127.0.0.1:${ports.proxyRead}/${database}${verified}`,
      // It tells numbers only, and on this machine.
      http: `http://127.0.0.1:${ports.proxyHttp}`,
    },
    relay: {
      name: 'relay',
      pg: `postgres://${PEER_USER}@127.0.0.1:${ports.relay}/${database}${verified}`,
      http: `${scheme}://127.0.0.1:${ports.relayHttp}`,
    },
    edges: ports.edges.map((port, index) => ({
      name: `edge-${index}`,
      pg: `postgres://${user}@127.0.0.1:${port.pg}/${database}${verified}`,
      http: `${scheme}://127.0.0.1:${port.http}`,
    })),
  };
}

/** Name that relays and verify authenticate with at a relay. */
const PEER_USER = 'skerry';

/** Who may change placements. */
const ADMIN_USER = 'admin';

type Values = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/**
 * What the proxy's configuration file holds. The core's own user logs in with the core's password (in `usersFile`); others are
 * looked up in the core, where that user may do so. Without a password to know, whoever is on this machine is passed on to
 * the core, whose rules decide.
 */
export function proxyConfig(input: WorldInput, config: Config, usersFile: string): Values {
  const target = parseConnectionString(input.coreUrl);
  const { port, readPort, httpPort } = {
    port: input.ports.proxy,
    readPort: input.ports.proxyRead,
    httpPort: input.ports.proxyHttp,
  };
  const known = target.password !== null;
  const { tlsCert: tlsCertFile = '', tlsKey: tlsKeyFile = '', tlsCa: tlsCaFile = '' } = tlsFiles(input, 'proxy');
  const servers = target.hosts.map((one) => `${one.host.includes(':') ? `[${one.host}]` : one.host}:${one.port}`);
  return {
    log: { level: config.log.level, format: 'text' },
    proxy: {
      ...config.proxy,
      host: '127.0.0.1',
      port,
      readPort,
      httpPort,
      databases: config.proxy.databases.size > 0 ? config.proxy.databases : { '*': { servers } },
      ...(known
        ? { authType: 'scram-sha-256', usersFile, authUser: target.user, adminUsers: [target.user] }
        : { authType: 'trust', adminUsers: [target.user] }),
      tlsCertFile,
      tlsKeyFile,
      tlsCaFile,
      serverTlsSslmode: target.sslMode,
      serverTlsCaFile: target.sslRootCert ?? '',
      serverTlsCertFile: target.sslCert ?? '',
      serverTlsKeyFile: target.sslKey ?? '',
    },
  };
}

/** userlist.txt with the core's own user; null when its URL has no password. */
export function proxyUsers(coreUrl: string): string | null {
  const { user, password } = parseConnectionString(coreUrl);
  const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
  return password === null ? null : `${quoted(user)} ${quoted(password.reveal())}\n`;
}

/** Files with secrets that the roles of a world share, each for its owner only. */
export interface WorldFiles {
  readonly peerPassword: string;
  /** `user:password` of each edge. */
  readonly peers: string;
  readonly adminPassword: string;
}

/** File with the password of one edge. */
export function edgePasswordFile(dir: string, name: string): string {
  return `${dir}/${name}-password`;
}

/** What the relay's configuration file holds. */
export function relayConfig(input: WorldInput, config: Config, files: WorldFiles): Values {
  return {
    log: { level: config.log.level, format: 'text' },
    core: { ...config.core, databaseUrl: input.coreUrl },
    relay: {
      ...config.relay,
      name: 'relay',
      dir: `${input.dir}/relay`,
      host: '127.0.0.1',
      port: input.ports.relay,
      httpPort: input.ports.relayHttp,
      peerUser: PEER_USER,
      peerPasswordFile: files.peerPassword,
      peersFile: files.peers,
      adminUser: ADMIN_USER,
      adminPasswordFile: files.adminPassword,
      ...tlsFiles(input, 'relay'),
      ephemeral: config.up.ephemeral,
    },
  };
}

/** What the configuration file of edge `index` holds. */
export function edgeConfig(input: WorldInput, config: Config, index: number): Values {
  const port = input.ports.edges[index];
  if (port === undefined) throw new Error(`no edge ${index}`);
  const name = `edge-${index}`;
  return {
    log: { level: config.log.level, format: 'text' },
    core: { databaseUrl: input.coreUrl, publication: config.core.publication },
    edge: {
      ...config.edge,
      name,
      dir: `${input.dir}/${name}`,
      host: '127.0.0.1',
      port: port.pg,
      httpPort: port.http,
      upstreamUrl: `postgres://127.0.0.1:${input.ports.relay}/${encodeURIComponent(parseConnectionString(input.coreUrl).database)}`,
      upstreamHttpUrl: `${input.certsDir === null ? 'http' : 'https'}://127.0.0.1:${input.ports.relayHttp}`,
      // Under a name of its own, by which placements know it.
      peerUser: name,
      peerPasswordFile: input.certsDir === null ? edgePasswordFile(input.dir, name) : '',
      ...tlsFiles(input, name),
      // Said in the file, not a default: on one machine, for one person, on loopback only (I11).
      clientAuth: 'trust-loopback',
    },
  };
}

function tlsFiles(input: WorldInput, name: string): Record<string, string> {
  const { certsDir } = input;
  if (certsDir === null) return {};
  return { tlsCert: `${certsDir}/${name}.crt`, tlsKey: `${certsDir}/${name}.key`, tlsCa: `${certsDir}/ca.crt` };
}

/** Commands that people can paste; shown when the world is ready. */
export function commandsToTry(world: World): string[] {
  const psql = (url: string): string => {
    const { hosts, user, database } = parseConnectionString(url);
    const { host, port } = hosts[0] as HostPort;
    return ['psql', '-h', shellQuote(host), '-p', String(port), '-U', shellQuote(user), shellQuote(database)].join(' ');
  };
  const prefix = world.core.passFile === null ? '' : `PGPASSFILE=${shellQuote(world.core.passFile)} `;
  return [
    `${prefix}${psql(world.core.url)}   # the core`,
    ...[[world.proxy.pg, 'the core, through the proxy'] as const, [world.proxy.pgRead, 'reads only'] as const].map(
      ([url, what]) => `${prefix}${world.tls === null ? psql(url) : `psql ${shellQuote(url)}`}   # ${what}`,
    ),
    ...world.edges.map(
      (edge) => `${world.tls === null ? psql(edge.pg) : `psql ${shellQuote(edge.pg)}`}   # ${edge.name}`,
    ),
  ];
}

/** postgres:// URL of the first host, without password and options: for people. */
function shownUrl(target: ConnectionTarget): string {
  const { host, port } = target.hosts[0] as HostPort;
  const place = host.startsWith('/') ? encodeURIComponent(host) : host.includes(':') ? `[${host}]` : host;
  return `postgres://${encodeURIComponent(target.user)}@${place}:${port}/${encodeURIComponent(target.database)}`;
}

function shellQuote(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
