// What the planner hands to the server: for each statement, how it must be answered. Types only.
//
//   text ──Planner.script()──▶ Script { statements: Planned[] }     simple protocol; one text may hold several statements
//   text ──Planner.statement()──▶ Planned { plan, literals }        extended protocol (Parse) and inner statements
//
// Unknown means forward: a LocalPlan is only made when the same rows, types, order and errors as Postgres' are proven.

export type Plan = LocalPlan | ForwardPlan | SessionPlan | EmptyPlan;

/** Answer from SQLite. */
export interface LocalPlan {
  readonly kind: 'local';
  /** `fast`: a lookup bound by an index, may run on the event loop. `slow`: may scan, runs where it can be killed. */
  readonly lane: 'fast' | 'slow';
  /** Of a `slow` one: a bound of the rows that it reads (see `RowBound`). It is fast after all while those are few. */
  readonly scans?: readonly (readonly number[])[];
  /** SQLite text with ?1..?n, one for each of `bindings`; make the values with `bindPlan` (bind.ts). */
  readonly sql: string;
  readonly bindings: readonly Binding[];
  /** Types of the client's $1..$n as ParameterDescription must tell them. */
  readonly parameterTypes: readonly number[];
  readonly columns: readonly ColumnPlan[];
  readonly tag: 'SELECT' | 'EXPLAIN';
  /** OIDs of the tables read. */
  readonly tables: readonly number[];
  /** NEED_… bits: settings that must hold in the session, else forward. `ColumnPlan.textNeeds` adds to it for columns sent as text. */
  readonly needs: number;
  /**
   * True when SQLite may refuse at run time (integer overflow …) where Postgres has an error of its own: collect all rows
   * before the first is sent, and forward the statement when SQLite throws.
   */
  readonly mayFail: boolean;
  /** Upper bound of rows when one is known from the plan itself (unique lookups), else null. */
  readonly rowsMax: number | null;
}

/** Ask the core. */
export interface ForwardPlan {
  readonly kind: 'forward';
  /** Stable kebab-case code, counted in metrics. */
  readonly reason: ForwardReason;
  /** One sentence for people. */
  readonly detail: string;
  /** True unless the statement is known not to write and not to lock. */
  readonly write: boolean;
  /** Of an EXPLAIN: what is to be told of the statement that it explains, before the core's plan. */
  readonly notice?: string;
}

/** Changes or reads the session itself; the server decides what of it the core must see. */
export interface SessionPlan {
  readonly kind: 'session';
  readonly statement: SessionStatement;
}

/** No statement at all (EmptyQueryResponse). */
export interface EmptyPlan {
  readonly kind: 'empty';
}

/** A plan and the constants of this very text. Plans are shared between texts and sessions; never changed. */
export interface Planned {
  readonly plan: Plan;
  /** Constants lifted out of this text, as `Binding.index` numbers them. */
  readonly literals: readonly string[];
}

export interface PlannedStatement extends Planned {
  /** Where the statement stands in the text, in UTF-16 units, without the semicolon: text.slice(start, end). */
  readonly start: number;
  readonly end: number;
}

export interface Script {
  /** Empty when the text holds no statement: the answer is EmptyQueryResponse. */
  readonly statements: readonly PlannedStatement[];
  /** Postgres would refuse the whole text with this; forward while the core is there, else report it. */
  readonly syntaxError: SyntaxErrorReport | null;
}

export interface SyntaxErrorReport {
  readonly sqlstate: string;
  readonly message: string;
  /** 1-based, in characters, as ErrorResponse field P; 0 when unknown. */
  readonly position: number;
}

/**
 * What planning depends on besides the text and the catalogue. Equal sessions share plans through `key`. Two things are not in
 * here because nothing may be planned under them, everything is forwarded: standard_conforming_strings off, and temporary
 * tables made by the session (they shadow tables of the same name).
 */
export interface PlanningSession {
  /** Schemas of search_path in order, "$user" already replaced (left out when there is no such schema). pg_catalog is implied first when absent. */
  readonly searchPath: readonly string[];
  /** Any text that is equal exactly when `searchPath` is. */
  readonly key: string;
}

/** Where a SQLite parameter's value comes from, and how it is converted. */
export type Binding =
  /** The client's $(index + 1). */
  | { readonly from: 'parameter'; readonly index: number; readonly writer: Writer; readonly typeOid: number }
  /** `Planned.literals[index]`, converted like a parameter sent as text. */
  | { readonly from: 'literal'; readonly index: number; readonly writer: Writer; readonly typeOid: number }
  /** A constant that SQLite's own text would not give back exactly: a float. */
  | { readonly from: 'constant'; readonly value: number | string }
  /** What only the session knows, as text. */
  | { readonly from: 'session'; readonly name: SessionValue };

/** How a value is turned into what SQLite compares with; a text that Postgres would refuse is never bound (bind says so: forward). */
export type Writer =
  | 'int2'
  | 'int4'
  | 'int8'
  | 'oid'
  | 'bool'
  | 'float4'
  | 'float8'
  | 'text'
  | 'name'
  /** Without the blanks at the end: comparison form of char(n). */
  | 'bpchar'
  | 'numeric-text'
  /** The order-preserving form in `<column>$key`. */
  | 'numeric-key'
  | 'bytea'
  | 'uuid'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  /** A label of the enum `typeOid`. */
  | 'enum'
  /** A LIKE pattern as the equal GLOB pattern. */
  | 'like'
  /** The same for ILIKE, in small letters; patterns with other than ASCII are left to the core. */
  | 'ilike'
  /** LIMIT: NULL is no limit; negative is refused. */
  | 'limit'
  /** OFFSET: NULL is 0; negative is refused. */
  | 'offset'
  /** What is stored as Postgres prints it: interval, jsonb, inet, ranges, arrays … */
  | 'typed'
  /** One-dimensional arrays become a JSON text of the elements in storage form, for json_each. */
  | 'array';

/** SQLite value → Postgres' text output. See `read.ts`; binary follows from text and type OID. */
export type Reader =
  /** number or bigint, printed as an integer. */
  | 'integer'
  /** 0 or 1 → f or t. */
  | 'bool'
  | 'float4'
  | 'float8'
  /** Already Postgres' text. */
  | 'text'
  | 'bytea'
  /** date, time, timestamp, timestamptz in the replica's storage form. */
  | 'temporal';

export interface ColumnPlan {
  readonly name: string;
  /** 0 when the column is not a plain table column. */
  readonly tableOid: number;
  readonly attnum: number;
  readonly typeOid: number;
  /** typlen: -1 variable, -2 cstring. */
  readonly typeLength: number;
  readonly typmod: number;
  readonly reader: Reader;
  /** NEED_… bits that only matter when this column is sent as text. */
  readonly textNeeds: number;
}

/** TimeZone is UTC by any of its names (UTC, GMT, Etc/UTC …). */
export const NEED_TIMEZONE_UTC = 1;
/** DateStyle output is ISO (the input order does not matter). */
export const NEED_DATESTYLE_ISO = 2;
/** IntervalStyle is postgres. */
export const NEED_INTERVALSTYLE_POSTGRES = 4;
/** extra_float_digits is 1 or more (the default). */
export const NEED_FLOAT_SHORTEST = 8;
/** bytea_output is hex. */
export const NEED_BYTEA_HEX = 16;
/** lc_monetary is the core's default. */
export const NEED_MONETARY_DEFAULT = 32;
/** xmlbinary, xmloption, quote_all_identifiers and the like are untouched. */
export const NEED_OUTPUT_DEFAULTS = 64;

export type SessionValue = 'current_user' | 'session_user' | 'current_database' | 'current_schema';

/** Why a statement is not answered here. */
export type ForwardReason =
  /** INSERT, UPDATE, DELETE, MERGE, COPY, TRUNCATE, DDL, CALL, DO … */
  | 'write'
  /** FOR UPDATE, FOR SHARE, LOCK. */
  | 'lock'
  /** EXPLAIN, COPY TO and other statements that are not SELECT. */
  | 'utility'
  /** Longer than the planner is willing to parse. */
  | 'too-long'
  | 'syntax-error'
  /** Reads pg_catalog or information_schema. */
  | 'catalogue'
  /** Not in the replica: never replicated, a view, temporary, or misspelt. */
  | 'unknown-table'
  | 'unknown-column'
  /** Row security, children, partitions, row filter. */
  | 'table-not-whole'
  | 'column-not-replicated'
  /** Ordering or range comparison under a collation other than C. */
  | 'collation'
  /** An operator, function or cast that is not proven equal for these types. */
  | 'unproven-operator'
  | 'unproven-function'
  | 'unproven-cast'
  | 'unproven-type'
  | 'unproven-syntax'
  /** A literal that Postgres would (or might) refuse. */
  | 'literal'
  /** A parameter whose type cannot be inferred here. */
  | 'parameter-type'
  /** A parameter's value that Postgres would (or might) refuse; found when binding. */
  | 'parameter-value'
  /** A session setting under which the answer would print or compare differently; found when executing. */
  | 'setting'
  /** May raise an error (overflow, division by zero) that SQLite would not. */
  | 'may-fail'
  /** A user's function, operator or type shadows the built-in one. */
  | 'shadowed';

/** Statements about the session. Names are as Postgres sees them (unquoted ones in lower case). */
export type SessionStatement =
  | {
      readonly type: 'begin';
      readonly tag: 'BEGIN' | 'START TRANSACTION';
      readonly modes: TransactionModes;
    }
  | { readonly type: 'commit'; readonly chain: boolean }
  | { readonly type: 'rollback'; readonly chain: boolean }
  | { readonly type: 'savepoint'; readonly name: string }
  | { readonly type: 'release'; readonly name: string }
  | { readonly type: 'rollback-to'; readonly name: string }
  /** SET [LOCAL] name = value: `values` as the client wrote them, joined as SHOW would print a list; null = DEFAULT. */
  | { readonly type: 'set'; readonly name: string; readonly local: boolean; readonly values: readonly string[] | null }
  | { readonly type: 'set-transaction'; readonly modes: TransactionModes }
  /** SET SESSION CHARACTERISTICS AS TRANSACTION … */
  | { readonly type: 'set-session-characteristics'; readonly modes: TransactionModes }
  /** RESET name; null = ALL. */
  | { readonly type: 'reset'; readonly name: string | null }
  /** SHOW name; 'all' for ALL. */
  | {
      readonly type: 'show';
      readonly name: string;
      /** Name of the column when it was written as SELECT skerry.token() [AS name]. */
      readonly column?: string;
    }
  | { readonly type: 'discard'; readonly target: 'all' | 'plans' | 'sequences' | 'temp' }
  /** PREPARE name (types) AS query. `parameterTypes` null: a type could not be resolved here. */
  | {
      readonly type: 'prepare';
      readonly name: string;
      readonly parameterTypes: readonly number[] | null;
      readonly query: string;
      readonly planned: Planned;
    }
  /** EXECUTE name (args): constant arguments as texts (null = NULL), or null when one is an expression. */
  | {
      readonly type: 'execute';
      readonly name: string;
      readonly argumentTexts: readonly (string | null)[] | null;
      readonly argumentKinds: readonly ConstantKind[];
    }
  /** DEALLOCATE name; null = ALL. */
  | { readonly type: 'deallocate'; readonly name: string | null }
  | {
      readonly type: 'declare';
      readonly name: string;
      readonly binary: boolean;
      readonly hold: boolean;
      /** true SCROLL, false NO SCROLL, null neither. */
      readonly scroll: boolean | null;
      readonly query: string;
      readonly planned: Planned;
    }
  /** FETCH / MOVE. `count` null = ALL. FORWARD n, BACKWARD n, ABSOLUTE n, RELATIVE n as Postgres' parser reduces them. */
  | {
      readonly type: 'fetch';
      readonly move: boolean;
      readonly cursor: string;
      readonly direction: 'forward' | 'backward' | 'absolute' | 'relative';
      readonly count: number | null;
    }
  /** CLOSE name; null = ALL. */
  | { readonly type: 'close'; readonly name: string | null }
  | { readonly type: 'listen'; readonly channel: string }
  /** UNLISTEN name; null = *. */
  | { readonly type: 'unlisten'; readonly channel: string | null }
  | { readonly type: 'notify'; readonly channel: string; readonly payload: string };

/** How a constant was written: what it may be given for without a conversion. */
export type ConstantKind = 'null' | 'string' | 'integer' | 'float' | 'boolean';

export interface TransactionModes {
  readonly isolation: 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable' | null;
  readonly readOnly: boolean | null;
  readonly deferrable: boolean | null;
}
