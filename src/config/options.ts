// Every option of the system, declared once.

import {
  choice,
  duration,
  flag,
  type Group,
  list,
  type Option,
  port,
  size,
  table,
  text,
  type ValuesOf,
  whole,
} from './define.ts';

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
      help: 'Moves all ports together: proxy +32 (read only +33, HTTP +34), core +40, relay +50 and +51, edge i +100+10i and +101+10i.',
    }),
    tls: flag({
      default: false,
      help: 'Use TLS on all ports, with certificates made in the folder (as `skerry certs` does); edges log in with theirs.',
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
    hungTimeoutMs: duration({
      default: 30_000,
      help: 'A proxy, relay or edge that has served and does not answer on its HTTP port for so long is killed and started again; 0 is never.',
    }),
  },
} satisfies Group;

const tlsOptions = {
  tlsCert: text({
    default: '',
    help: "PEM file of this role's certificate, for both ports and to log in elsewhere; empty is for loopback only.",
  }),
  tlsKey: text({ default: '', help: 'PEM file of its key, for its owner only (mode 0600).' }),
  tlsCa: text({
    default: '',
    help: 'PEM file of the CA that signed the certificates of the other roles and of clients.',
  }),
  clientCertificates: choice({
    of: ['accept', 'require', 'ignore'],
    default: 'accept',
    help: 'accept takes a certificate of tls_ca instead of a password when its name is the user; require takes nothing else from other machines.',
  }),
};

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
    upstreamUrl: text({
      default: '',
      secret: true,
      help: 'postgres:// URL of a relay to follow; empty follows the core (core.database_url).',
    }),
    upstreamHttpUrl: text({
      default: '',
      help: 'https:// (or, on loopback, http://) URL of that relay, for the first snapshot.',
    }),
    peerUser: text({ default: 'skerry', help: 'User name that subscribers authenticate with.' }),
    peerPasswordFile: text({
      default: '',
      help: 'File with the password that subscribers must know (SCRAM-SHA-256); empty needs certificates.',
    }),
    ...tlsOptions,
    peerNames: list({
      default: [],
      help: 'Names of certificates that may subscribe; empty takes every certificate of tls_ca.',
    }),
    peersFile: text({
      default: '',
      help: 'File with one user:password a line: subscribers with names of their own, by which placements tell them apart.',
    }),
    adminUser: text({ default: 'admin', help: 'User name that may change placements over HTTP.' }),
    adminPasswordFile: text({
      default: '',
      help: 'File with the password of that user; empty lets a certificate of that name change them, and nobody else.',
    }),
    placements: table({
      help: 'Who is sent what. Without any, every subscriber is sent everything; with one, who is in none is sent nothing.',
      fields: {
        pops: list({
          default: [],
          help: 'Names of PoPs (certificate or user); * is everybody whom no other placement names.',
        }),
        tables: list({
          default: [],
          help: 'Each `schema.table (column, …) WHERE condition`; schema.* and * are all tables.',
        }),
        forward: choice({
          of: ['allow', 'never'],
          default: 'allow',
          help: 'never: a statement that the PoP cannot answer itself is refused there.',
        }),
      },
    }),
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
    httpPort: port({ default: 6501, help: 'Status, checksums, metrics and rows by key.' }),
    upstreamUrl: text({ default: '', secret: true, help: 'postgres:// URL of the relay.' }),
    upstreamHttpUrl: text({
      default: '',
      help: 'https:// (or, on loopback, http://) URL of the relay, for snapshots.',
    }),
    peerUser: text({ default: 'skerry', help: 'User name to authenticate with at the relay.' }),
    peerPasswordFile: text({
      default: '',
      help: 'File with the password for the relay, which also opens the HTTP port here; empty logs in with the certificate.',
    }),
    ...tlsOptions,
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
    snapshotsMax: whole({
      min: 0,
      max: 10_000,
      default: 500,
      help: "REPEATABLE READ blocks that keep a snapshot here at once; one more is the core's.",
    }),
    snapshotLanes: whole({
      min: 0,
      max: 64,
      default: 4,
      help: 'Child processes, beyond slow_lanes, for scans in such blocks.',
    }),
    snapshotAgeMaxMs: duration({
      default: 600_000,
      help: 'Such a block fails with 40001 when it takes longer; 0 is no limit.',
    }),
    snapshotLogBytesMax: size({
      default: 4 * 1024 ** 3,
      help: "Size of SQLite's log, which grows under an open snapshot, at which the oldest one is given up; 0 is no limit.",
    }),
    cursorBytesMax: size({
      default: 1024 ** 3,
      help: 'Rows of open cursors that are kept in files; more gets 53400.',
    }),
    catalogueTablesMax: whole({
      min: 0,
      max: 10_000,
      default: 200,
      help: 'Replicated tables about which the core is asked ahead what psql asks (\\d), for when it is away; 0 remembers nothing.',
    }),
    ktPort: port({ default: 6502, help: 'Kyoto Tycoon’s protocols, for edge.kt_tables; on loopback only.' }),
    ktTables: list({
      default: [],
      help: 'Tables (schema.name) that Kyoto Tycoon’s clients see as databases 0, 1, …: a key, a value and perhaps an expiry. Empty keeps the port closed.',
    }),
    readers: whole({
      min: 1,
      max: 64,
      default: 1,
      help: 'Processes that answer clients on the one port; more use more cores, and share connections_max, forward_connections_max and slow_lanes.',
    }),
  },
} satisfies Group;

const POOL_MODES = ['session', 'transaction', 'statement'] as const;

/** `''` = not given: the option of the whole proxy counts. */
const poolModeOfRow = choice({
  of: ['', ...POOL_MODES],
  default: '',
  help: 'session, transaction or statement; empty takes proxy.pool_mode.',
});

/** -1 = not given. */
const numberOfRow = (help: string): Option<number> => whole({ min: -1, max: 100_000, default: -1, help });

const LIMIT_ALGORITHMS = ['vegas', 'gradient2', 'off'] as const;

const proxy = {
  title: 'skerry proxy',
  help: 'Pools connections in front of Postgres servers, routes reads and writes, hides failovers. Names are PgBouncer’s where the thing is the same.',
  envPrefix: 'PROXY_',
  options: {
    host: text({ default: '127.0.0.1', help: 'Address to listen on.' }),
    port: port({ default: 6432, help: 'Read and write.' }),
    readPort: port({ default: 6433, help: 'Read only: replicas, else the primary.' }),
    httpPort: port({ default: 6434, help: 'Metrics; on 127.0.0.1 only.' }),
    databases: table({
      help: 'Databases that clients may connect to; the name * answers for all others.',
      fields: {
        servers: list({ default: [], help: 'host:port of each server; with several, the primary is found by asking.' }),
        dbname: text({ default: '', help: 'Name on the servers; empty is the same name.' }),
        user: text({ default: '', help: 'User on the servers; empty is the client’s own.' }),
        passwordFile: text({ default: '', help: 'File with the password of that user.' }),
        poolMode: poolModeOfRow,
        poolSize: numberOfRow('Server connections per user; -1 takes proxy.default_pool_size.'),
        minPoolSize: numberOfRow('Server connections to keep; -1 takes proxy.min_pool_size.'),
        reservePoolSize: numberOfRow(
          'More server connections for those who wait long; -1 takes proxy.reserve_pool_size.',
        ),
        maxDbConnections: numberOfRow('Server connections over all users; -1 takes proxy.max_db_connections.'),
        maxDbClientConnections: numberOfRow('Clients at once; -1 is no limit of its own.'),
        authUser: text({ default: '', help: 'User that runs auth_query; empty takes proxy.auth_user.' }),
        authQuery: text({ default: '', help: 'Finds a user’s secret; empty takes proxy.auth_query.' }),
        splitReads: flag({
          default: false,
          help: 'Send statements that are provably reads to replicas, also on the read/write port.',
        }),
        readYourWrites: choice({
          of: ['off', 'session'],
          default: 'off',
          help: 'session: reads go only to servers that have replayed the session’s last commit.',
        }),
      },
    }),
    topology: choice({
      of: ['static'],
      default: 'static',
      help: 'Who says which server is the primary: static asks the servers of each database’s list.',
    }),
    users: table({
      help: 'Users that differ from the rest.',
      fields: {
        passwordFile: text({
          default: '',
          help: 'File with a password, or what Postgres stores of one (SCRAM-SHA-256$…).',
        }),
        poolMode: poolModeOfRow,
        poolSize: numberOfRow('Server connections of this user’s pools; -1 takes the database’s.'),
        maxUserConnections: numberOfRow('Server connections over all databases; -1 takes proxy.max_user_connections.'),
        maxUserClientConnections: numberOfRow('Clients at once; -1 is no limit of its own.'),
      },
    }),
    workers: whole({
      min: 0,
      max: 31,
      default: 1,
      help: 'Processes on the port, one per core that the proxy may use; 0 is one for each core.',
    }),
    shutdownTimeoutMs: duration({
      default: 60_000,
      help: 'Restart: clients of an old worker get this long to finish; 0 is as long as they like.',
    }),
    peerId: whole({
      min: 0,
      max: 63,
      default: 0,
      help: 'Number of this host among proxy.peers (1 to 63), so that cancel requests find their way; 0 is none.',
    }),
    peers: table({
      help: 'Proxies of other hosts behind the same address, by their peer_id.',
      fields: {
        host: text({ default: '', help: 'Address under which that proxy alone is reached.' }),
        port: port({ default: 6432, help: 'Its read and write port.' }),
        sslmode: choice({
          of: ['require', 'verify-ca', 'verify-full', 'disable'],
          default: 'require',
          help: 'TLS to it, as libpq’s sslmode: cancel keys are secrets.',
        }),
        caFile: text({ default: '', help: 'PEM certificates that sign its certificate.' }),
      },
    }),
    tenants: table({
      help: 'Who shares one set of limits. Without a rule that fits, each database and user is a tenant of its own, named database/user; a rule of such a name changes its limits.',
      fields: {
        database: text({ default: '', help: 'Pattern with * and ?; empty is any.' }),
        user: text({ default: '', help: 'Pattern with * and ?; empty is any.' }),
        applicationName: text({
          default: '',
          help: 'Pattern with * and ?; empty is any. Clients choose it themselves.',
        }),
        maxConnections: numberOfRow('Clients at once; -1 takes proxy.tenant_max_connections.'),
        poolSize: numberOfRow('Server connections in use at once, per server; -1 takes proxy.tenant_pool_size.'),
        qps: numberOfRow('Queries per second; -1 takes proxy.tenant_qps.'),
        maxWaiting: numberOfRow('Clients that may wait for a turn, per server; -1 takes proxy.tenant_max_waiting.'),
        weight: whole({
          min: 1,
          max: 1_000,
          default: 1,
          help: 'When server_budget is short, one with weight 2 gets twice as much.',
        }),
        algorithm: choice({
          of: ['', ...LIMIT_ALGORITHMS],
          default: '',
          help: 'vegas, gradient2 or off; empty takes proxy.adaptive_limit.',
        }),
      },
    }),
    usersFile: text({ default: '', help: 'userlist.txt: "user" "secret" a line.' }),
    authType: choice({
      of: ['scram-sha-256', 'md5', 'cert', 'trust', 'hba'],
      default: 'scram-sha-256',
      help: 'How clients prove who they are; trust is for this machine only; hba reads proxy.auth_hba_file.',
    }),
    authHbaFile: text({ default: '', help: 'Rules as in pg_hba.conf: who may come from where, and how he proves it.' }),
    authUser: text({ default: '', help: 'User that runs auth_query on the servers; empty turns it off.' }),
    authQuery: text({
      default: '',
      help: 'Query for name and secret of user $1; empty reads pg_authid and honours VALID UNTIL.',
    }),
    adminUsers: list({ default: [], help: 'May use every command on the admin database skerry.' }),
    statsUsers: list({ default: [], help: 'May use SHOW on the admin database skerry.' }),
    poolMode: choice({ of: POOL_MODES, default: 'transaction', help: 'When a server connection is given back.' }),
    defaultPoolSize: whole({ min: 1, max: 100_000, default: 20, help: 'Server connections per database and user.' }),
    minPoolSize: whole({ min: 0, max: 100_000, default: 0, help: 'Server connections to keep although idle.' }),
    reservePoolSize: whole({
      min: 0,
      max: 100_000,
      default: 0,
      help: 'More server connections for those who wait long.',
    }),
    reservePoolTimeoutMs: duration({ default: 5_000, help: 'How long is long, for reserve_pool_size.' }),
    maxClientConn: whole({ min: 1, max: 1_000_000, default: 10_000, help: 'Clients at once; one more gets 53300.' }),
    maxDbConnections: whole({
      min: 0,
      max: 100_000,
      default: 0,
      help: 'Server connections per database over all users; 0 is no limit.',
    }),
    maxUserConnections: whole({
      min: 0,
      max: 100_000,
      default: 0,
      help: 'Server connections per user over all databases; 0 is no limit.',
    }),
    serverBudget: whole({
      min: 0,
      max: 100_000,
      default: 0,
      help: 'Transactions at once on one server over all tenants, divided max-min fairly; 0 is no bound.',
    }),
    adaptiveLimit: choice({
      of: LIMIT_ALGORITHMS,
      default: 'vegas',
      help: 'How many statements of one tenant may be at work at once follows from how long they take; off leaves it to the other limits.',
    }),
    tenantMaxConnections: whole({
      min: 0,
      max: 1_000_000,
      default: 0,
      help: 'Clients of one tenant at once; one more gets 53300; 0 is no limit.',
    }),
    tenantPoolSize: whole({
      min: 0,
      max: 100_000,
      default: 0,
      help: 'Server connections that one tenant may have in use at once, per server; 0 leaves it to the pools.',
    }),
    tenantQps: whole({ min: 0, max: 1_000_000, default: 0, help: 'Queries per second of one tenant; 0 is no limit.' }),
    tenantMaxWaiting: whole({
      min: 1,
      max: 1_000_000,
      default: 10_000,
      help: 'Clients of one tenant that may wait for a turn, per server; one more gets 53300.',
    }),
    maxPreparedStatements: whole({
      min: 1,
      max: 100_000,
      default: 200,
      help: 'Named statements to keep prepared on one server connection.',
    }),
    serverReset: choice({
      of: ['discard', 'close'],
      default: 'discard',
      help: 'Session mode, when the client has gone: DISCARD ALL and reuse, or close. A few things survive DISCARD ALL: loaded libraries, the seed of random().',
    }),
    queryWaitTimeoutMs: duration({
      default: 120_000,
      help: 'A client waits this long for a server connection; 0 is for ever.',
    }),
    waitingBytesMax: size({
      default: 256 * 1024 ** 2,
      help: 'What clients that wait (for a server connection, or during PAUSE) may have sent, all together; above it they are not read until it is their turn.',
    }),
    queryTimeoutMs: duration({ default: 0, help: 'Longest statement; 0 is none.' }),
    idleTransactionTimeoutMs: duration({ default: 0, help: 'Longest rest inside a transaction; 0 is none.' }),
    transactionTimeoutMs: duration({ default: 0, help: 'Longest transaction; 0 is none.' }),
    clientIdleTimeoutMs: duration({ default: 0, help: 'Longest rest between transactions; 0 is none.' }),
    clientLoginTimeoutMs: duration({ default: 60_000, help: 'Longest login of a client.' }),
    serverIdleTimeoutMs: duration({
      default: 600_000,
      help: 'Idle server connections beyond min_pool_size are closed after this.',
    }),
    serverLifetimeMs: duration({ default: 3_600_000, help: 'Server connections are renewed after about this time.' }),
    serverConnectTimeoutMs: duration({ default: 15_000, help: 'Connecting and logging in to a server.' }),
    checkIntervalMs: duration({
      default: 1_000,
      help: 'How often the servers of a database with several are asked for role and lag.',
    }),
    replicaLagLow: size({ default: 1024 ** 2, help: 'Replicas with less lag are preferred.' }),
    replicaLagMax: size({ default: 64 * 1024 ** 2, help: 'Replicas with more lag are not read.' }),
    slowQueryMs: duration({
      default: 0,
      help: 'Statements that take longer are logged, without their values; 0 is off.',
    }),
    ignoreStartupParameters: list({ default: [], help: 'Startup parameters of clients that are dropped.' }),
    tlsCertFile: text({ default: '', help: 'PEM certificate for clients; empty turns TLS off.' }),
    tlsKeyFile: text({ default: '', help: 'PEM key of it.' }),
    tlsCaFile: text({ default: '', help: 'PEM certificates that sign clients’ certificates, for auth_type cert.' }),
    serverTlsSslmode: choice({
      of: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
      default: 'prefer',
      help: 'TLS to the servers, as libpq’s sslmode.',
    }),
    serverTlsCaFile: text({ default: '', help: 'PEM certificates that sign the servers’.' }),
    serverTlsCertFile: text({ default: '', help: 'PEM certificate to show to the servers.' }),
    serverTlsKeyFile: text({ default: '', help: 'PEM key of it.' }),
  },
} satisfies Group;

/** All groups, in the order of the sample file. */
export const GROUPS = { log, core, up, relay, edge, proxy };

export type Config = { readonly [K in keyof typeof GROUPS]: ValuesOf<(typeof GROUPS)[K]> };
