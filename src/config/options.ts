// Every option of the system, declared once.

import { choice, duration, flag, type Group, list, port, size, text, type ValuesOf, whole } from './define.ts';

const log = {
  title: 'logging',
  help: 'What each process writes about itself, on standard error.',
  envPrefix: 'LOG_',
  flagPrefix: 'log-',
  options: {
    level: choice({
      of: ['debug', 'info', 'warn', 'error'],
      default: 'info',
      help: 'Least severe line that is written.',
    }),
    format: choice({ of: ['json', 'text'], default: 'text', help: 'json for machines, text for a terminal.' }),
  },
} satisfies Group;

const core = {
  title: 'the core Postgres',
  help: 'Where rows are written; every process that talks to the core reads these.',
  envPrefix: '',
  options: {
    databaseUrl: text({
      default: '',
      secret: true,
      help: 'postgres:// URL of the core; empty makes `skerry up` run one of its own.',
    }),
    tables: list({ default: [], help: 'Tables to propagate (schema.name); empty takes all.' }),
    publication: text({ default: 'skerry', help: 'Name of the publication on the core.' }),
    slot: text({ default: 'skerry', help: 'Name of the replication slot on the core.' }),
  },
} satisfies Group;

const up = {
  title: 'skerry up',
  help: 'A whole small world on one machine.',
  envPrefix: '',
  options: {
    dir: text({ default: '.skerry', help: 'Folder of all data, created when it is not there.' }),
    ephemeral: flag({
      default: false,
      help: 'Use a temporary folder and remove it at the end, with everything left on the core.',
    }),
    portBase: whole({
      min: 1024,
      max: 65_000,
      default: 6400,
      help: 'Moves all ports together: core +40, relay +50 and +51, edge i +100+10i and +101+10i.',
    }),
    edges: whole({ min: 0, max: 100, default: 3, help: 'Number of edges to run.' }),
    sample: choice({
      of: ['auto', 'small', 'root-zone', 'none'],
      default: 'auto',
      help: 'Sample data to load and keep changing; auto is small on an embedded core and none on a database of your own.',
    }),
    dataDir: text({ default: '../shared/data', help: 'Folder with root-zone-*.tsv.gz, for --sample root-zone.' }),
    stopTimeoutMs: duration({
      default: 10_000,
      help: 'Time that one process may take to stop in order before it is killed.',
    }),
  },
} satisfies Group;

const relay = {
  title: 'skerry relay',
  help: 'Decodes the core once, keeps a durable log and a replica, serves edges and other relays.',
  envPrefix: 'RELAY_',
  options: {
    name: text({ default: 'relay', help: 'Name in logs, status and metrics.' }),
    dir: text({ default: '.skerry/relay', help: 'Folder of the log and the replica.' }),
    host: text({ default: '127.0.0.1', help: 'Address to listen on.' }),
    port: port({ default: 6450, help: 'Replication protocol for edges, relays and stock subscribers.' }),
    httpPort: port({ default: 6451, help: 'Snapshots, status, checksums and metrics.' }),
    tlsCert: text({ default: '', help: 'PEM file of the certificate for both ports; needed beyond loopback.' }),
    tlsKey: text({ default: '', help: 'PEM file of its key.' }),
    tlsCa: text({
      default: '',
      help: 'PEM file of the CA whose client certificates are accepted; empty accepts none.',
    }),
    upstreamUrl: text({
      default: '',
      secret: true,
      help: 'postgres:// URL of a relay to follow; empty follows the core (core.database_url).',
    }),
    upstreamHttpUrl: text({ default: '', help: 'http:// URL of that relay, for the first snapshot.' }),
    peerUser: text({ default: 'skerry', help: 'User name that subscribers authenticate with.' }),
    peerPasswordFile: text({ default: '', help: 'File with the password that subscribers must know (SCRAM-SHA-256).' }),
    ephemeral: flag({ default: false, help: 'Leave no slot on the core when stopping.' }),
    logBytesMax: size({
      default: 4 * 1024 ** 3,
      help: 'Bytes of the relay log to keep for subscribers that are away; older ones come back through a snapshot.',
    }),
    subscribersMax: whole({ min: 1, max: 100_000, default: 1000, help: 'Subscribers at once; one more gets 53300.' }),
  },
} satisfies Group;

const edge = {
  title: 'skerry edge',
  help: 'A PoP: applies the stream to SQLite, answers SQL, forwards the rest.',
  envPrefix: 'EDGE_',
  options: {
    name: text({ default: 'edge-0', help: 'Name in logs, status and metrics.' }),
    dir: text({ default: '.skerry/edge-0', help: 'Folder of the SQLite files.' }),
    host: text({ default: '127.0.0.1', help: 'Address to listen on.' }),
    port: port({ default: 6500, help: 'PostgreSQL protocol.' }),
    httpPort: port({ default: 6501, help: 'Status, checksums and metrics; always on 127.0.0.1.' }),
    tlsCert: text({ default: '', help: 'PEM file of the certificate for both ports; needed beyond loopback.' }),
    tlsKey: text({ default: '', help: 'PEM file of its key.' }),
    tlsCa: text({
      default: '',
      help: 'PEM file of the CA whose client certificates are accepted; empty accepts none.',
    }),
    upstreamUrl: text({ default: '', secret: true, help: 'postgres:// URL of the relay.' }),
    upstreamHttpUrl: text({ default: '', help: 'http:// URL of the relay, for snapshots.' }),
    peerUser: text({ default: 'skerry', help: 'User name to authenticate with at the relay.' }),
    peerPasswordFile: text({ default: '', help: 'File with the password for the relay.' }),
    clientAuth: choice({
      of: ['scram', 'trust-loopback'],
      default: 'scram',
      help: 'How clients prove who they are; trust-loopback believes anybody on this machine.',
    }),
    clientUsersFile: text({ default: '', help: 'File with one user:password a line, for scram.' }),
    connectionsMax: whole({
      min: 1,
      max: 100_000,
      default: 6000,
      help: 'Client connections at once; one more gets 53300.',
    }),
    forwardConnectionsMax: whole({
      min: 0,
      max: 10_000,
      default: 50,
      help: 'Connections to the core at once for forwarded statements.',
    }),
    statementTimeoutMs: duration({
      default: 0,
      help: 'Limit of one local statement; 0 is none. A session may set its own.',
    }),
    slowLanes: whole({ min: 1, max: 64, default: 2, help: 'Child processes for statements that may scan.' }),
  },
} satisfies Group;

/** All groups, in the order of the sample file. */
export const GROUPS = { log, core, up, relay, edge };

export type Config = { readonly [K in keyof typeof GROUPS]: ValuesOf<(typeof GROUPS)[K]> };
