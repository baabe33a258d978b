// What must be true of somebody's Postgres before we follow it. Looks, changes nothing; says everything that is missing at
// once, each with the SQL that mends it.
//
// Faults (code: what the operator reads in it)
//   core-unprepared     something is missing; the hint is the SQL (or the setting) that mends it
//   and those of session/faults.ts when it cannot be reached or lets us not in

import { Fault } from '../../base/fault.ts';
import type { Epoch } from '../../pg/lsn.ts';
import { type ClientOptions, ClientSession, type SessionWorld } from '../../session/client-session.ts';
import { sqlLiteral, sqlName } from './catalogue-sql.ts';

export interface PreflightOptions {
  readonly client: ClientOptions;
  readonly publication: string;
  readonly slot: string;
  /** `schema.name` or `name` as in SQL; empty means all. */
  readonly tables: readonly string[];
}

export interface PreflightFacts {
  readonly epoch: Epoch;
  /** True when the publication exists already: it is taken as it is. */
  readonly publicationExists: boolean;
  /** Tables that will be propagated. */
  readonly tables: number;
}

interface Problem {
  readonly message: string;
  readonly remedy: string;
}

// More names than this in one sentence help nobody.
const NAMES_SHOWN_MAX = 5;

/** Rejects with Fault `core-unprepared`, or with what the connection failed with. */
export async function preflight(world: SessionWorld, options: PreflightOptions): Promise<PreflightFacts> {
  await using session = await ClientSession.connect(world, options.client);
  const facts = await readFacts(session, options);
  const problems = problemsOf(facts, options);
  if (problems.length > 0) {
    throw new Fault('core-unprepared', {
      message: problems.map((one) => one.message).join('; '),
      hint: problems.map((one) => one.remedy).join(' '),
    });
  }
  return {
    epoch: await identify(world, options),
    publicationExists: facts.publicationExists,
    tables: facts.tables.length,
  };
}

interface Facts {
  readonly database: string;
  readonly role: string;
  readonly walLevel: string;
  readonly isStandby: boolean;
  readonly isSuperuser: boolean;
  readonly mayReplicate: boolean;
  readonly bypassesRls: boolean;
  readonly mayCreate: boolean;
  readonly slotsMax: number;
  readonly slotsUsed: number;
  readonly slotExists: boolean;
  readonly sendersMax: number;
  readonly sendersUsed: number;
  readonly publicationExists: boolean;
  /** It sends every kind of change, and partitions under their own names. */
  readonly publicationIsFaithful: boolean;
  /** Names given that are no tables. */
  readonly unknown: readonly string[];
  readonly tables: readonly TableFacts[];
}

interface TableFacts {
  readonly schema: string;
  readonly name: string;
  readonly mayRead: boolean;
  readonly isOwner: boolean;
  /** UPDATE and DELETE would fail as soon as the table is published. */
  readonly lacksIdentity: boolean;
  readonly rowSecurity: boolean;
}

async function readFacts(session: ClientSession, options: PreflightOptions): Promise<Facts> {
  const { publication, slot, tables } = options;
  const names = `ARRAY[${tables.map(sqlLiteral).join(', ')}]::text[]`;
  const chosen =
    tables.length === 0
      ? `n.nspname NOT IN ('pg_catalog', 'information_schema', 'skerry') AND n.nspname NOT LIKE 'pg\\_%'`
      : `c.oid IN (SELECT pg_catalog.to_regclass(x) FROM unnest(${names}) x)`;
  const sql = `SELECT pg_catalog.json_build_object(
    'database', pg_catalog.current_database(), 'role', current_user,
    'walLevel', pg_catalog.current_setting('wal_level'),
    'isStandby', pg_catalog.pg_is_in_recovery(),
    'isSuperuser', r.rolsuper, 'mayReplicate', r.rolreplication OR r.rolsuper, 'bypassesRls', r.rolbypassrls OR r.rolsuper,
    'mayCreate', pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
    'slotsMax', pg_catalog.current_setting('max_replication_slots')::int,
    'slotsUsed', (SELECT count(*) FROM pg_catalog.pg_replication_slots),
    'slotExists', EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = ${sqlLiteral(slot)}),
    'sendersMax', pg_catalog.current_setting('max_wal_senders')::int,
    'sendersUsed', (SELECT count(*) FROM pg_catalog.pg_stat_replication),
    'publicationExists', EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = ${sqlLiteral(publication)}),
    'publicationIsFaithful', coalesce((SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT pubviaroot
      FROM pg_catalog.pg_publication WHERE pubname = ${sqlLiteral(publication)}), true),
    'unknown', (SELECT coalesce(pg_catalog.json_agg(x), '[]') FROM unnest(${names}) x WHERE NOT EXISTS (
      SELECT FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(x) AND c.relkind IN ('r', 'p'))),
    'tables', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'schema', n.nspname, 'name', c.relname,
        'mayRead', pg_catalog.has_table_privilege(c.oid, 'SELECT'),
        'isOwner', pg_catalog.pg_has_role(c.relowner, 'USAGE'),
        'lacksIdentity', c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate)),
        'rowSecurity', c.relrowsecurity) ORDER BY n.nspname, c.relname), '[]')
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND ${chosen}))
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`;
  return JSON.parse((await session.query(sql)).rows[0]?.[0] ?? '') as Facts;
}

function problemsOf(facts: Facts, options: PreflightOptions): Problem[] {
  const problems: Problem[] = [];
  const add = (message: string, remedy: string): void => void problems.push({ message, remedy });
  const role = sqlName(facts.role);
  if (facts.isStandby)
    add('this Postgres is a standby, and what we need can only be made on a primary', 'Give the URL of the primary.');
  if (facts.walLevel !== 'logical') {
    add(
      `wal_level is ${facts.walLevel}, and only logical lets changes be decoded`,
      'ALTER SYSTEM SET wal_level = logical; /* then restart Postgres */',
    );
  }
  if (!facts.mayReplicate) add(`role ${role} may not replicate`, `ALTER ROLE ${role} REPLICATION;`);
  if (!facts.slotExists && facts.slotsUsed >= facts.slotsMax) {
    add(
      `all ${facts.slotsMax} replication slots are taken`,
      `ALTER SYSTEM SET max_replication_slots = ${facts.slotsMax + 10}; /* then restart Postgres */`,
    );
  }
  if (facts.sendersUsed >= facts.sendersMax) {
    add(
      `all ${facts.sendersMax} WAL senders are taken`,
      `ALTER SYSTEM SET max_wal_senders = ${facts.sendersMax + 10}; /* then restart Postgres */`,
    );
  }
  problems.push(...publicationProblems(facts, options), ...tableProblems(facts, role));
  return problems;
}

function publicationProblems(facts: Facts, options: PreflightOptions): Problem[] {
  const name = sqlName(options.publication);
  if (!facts.publicationIsFaithful) {
    return [
      {
        message: `publication ${name} leaves out some kinds of change, or hides partitions behind their parent`,
        remedy: `ALTER PUBLICATION ${name} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);`,
      },
    ];
  }
  if (facts.publicationExists) return [];
  if (facts.unknown.length > 0) {
    return [
      {
        message: `there is no table ${shown(facts.unknown)} in database "${facts.database}"`,
        remedy: 'Check --tables: schema.name as in SQL, "Quoted" when it has capitals; views cannot be followed.',
      },
    ];
  }
  if (options.tables.length === 0) {
    if (facts.isSuperuser) return [];
    return [
      {
        message: `role ${sqlName(facts.role)} may not publish all tables, which takes a superuser`,
        remedy: `CREATE PUBLICATION ${name} FOR ALL TABLES; /* as a superuser, or choose tables with --tables */`,
      },
    ];
  }
  const problems: Problem[] = [];
  if (!facts.mayCreate) {
    problems.push({
      message: `role ${sqlName(facts.role)} may not create a publication`,
      remedy: `GRANT CREATE ON DATABASE ${sqlName(facts.database)} TO ${sqlName(facts.role)};`,
    });
  }
  const foreign = facts.tables.filter((table) => !table.isOwner);
  if (foreign.length > 0) {
    problems.push({
      message: `role ${sqlName(facts.role)} does not own ${shown(foreign.map(qualified))} and may not publish what it does not own`,
      remedy: `CREATE PUBLICATION ${name} FOR TABLE ${facts.tables.map(qualified).join(', ')}; /* as their owner */`,
    });
  }
  return problems;
}

function tableProblems(facts: Facts, role: string): Problem[] {
  const problems: Problem[] = [];
  const unreadable = facts.tables.filter((table) => !table.mayRead).map(qualified);
  if (unreadable.length > 0) {
    problems.push({
      message: `role ${role} may not read ${shown(unreadable)}`,
      remedy: `GRANT SELECT ON ${unreadable.join(', ')} TO ${role};`,
    });
  }
  const anonymous = facts.tables.filter((table) => table.lacksIdentity).map(qualified);
  // Once published, the harm is done by the publication and not by us: a table made since must not keep us from starting.
  if (anonymous.length > 0 && !facts.publicationExists) {
    problems.push({
      message: `${shown(anonymous)} ${anonymous.length === 1 ? 'has' : 'have'} no replica identity (no primary key), so that UPDATE and DELETE would fail once published`,
      remedy: anonymous.map((name) => `ALTER TABLE ${name} REPLICA IDENTITY FULL;`).join(' '),
    });
  }
  if (!facts.bypassesRls && facts.tables.some((table) => table.rowSecurity && !table.isOwner)) {
    const secured = facts.tables.filter((table) => table.rowSecurity && !table.isOwner).map(qualified);
    problems.push({
      message: `row security hides rows of ${shown(secured)} from role ${role}`,
      remedy: `ALTER ROLE ${role} BYPASSRLS;`,
    });
  }
  return problems;
}

/** Also proves that pg_hba.conf lets us replicate. */
async function identify(world: SessionWorld, options: PreflightOptions): Promise<Epoch> {
  await using session = await ClientSession.connect(world, { ...options.client, replication: 'database' });
  const { columns, rows } = await session.query('IDENTIFY_SYSTEM');
  const field = (name: string): string => rows[0]?.[columns.findIndex((column) => column.name === name)] ?? '';
  return { systemId: field('systemid'), timeline: Number(field('timeline')) };
}

function qualified(table: TableFacts): string {
  return `${sqlName(table.schema)}.${sqlName(table.name)}`;
}

function shown(names: readonly string[]): string {
  const some = names.slice(0, NAMES_SHOWN_MAX).join(', ');
  return names.length > NAMES_SHOWN_MAX ? `${some} and ${names.length - NAMES_SHOWN_MAX} more` : some;
}
