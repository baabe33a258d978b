// Whether a statement is provably a read that any replica may answer. Doubt means no: an unknown function may write, lock or
// belong to the session (pgcat #829, #887, #865).

import { type Token, tokenize } from './scan.ts';

/** Functions that neither write nor depend on the session or the server they run on. */
const SAFE_FUNCTIONS: ReadonlySet<string> = new Set(
  `abs avg bit_and bit_or bool_and bool_or btrim ceil ceiling char_length character_length coalesce concat concat_ws count
  cume_dist date_part date_trunc dense_rank every exp extract first_value floor format generate_series greatest initcap
  json_agg json_array_length json_build_array json_build_object json_object_agg jsonb_agg jsonb_array_elements
  jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
  jsonb_extract_path jsonb_extract_path_text jsonb_object_agg jsonb_object_keys jsonb_typeof lag last_value lead least left
  length ln log lower lpad ltrim max md5 min mod now nth_value ntile nullif octet_length overlay percent_rank position power
  rank regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table replace reverse right round
  row_number row_to_json rpad rtrim sign split_part sqrt starts_with string_agg string_to_array strpos substr substring sum
  to_char to_date to_json to_jsonb to_number to_timestamp translate trim trunc unnest upper array_agg array_append
  array_cat array_length array_position array_remove array_to_string cardinality age make_date make_interval stddev
  variance corr xmlagg width_bucket`.split(/\s+/),
);

/** Words that may stand before a parenthesis without being a function. */
const KEYWORDS: ReadonlySet<string> = new Set(
  `all and any array as between by case cast cross cube distinct else end except exists filter from full group grouping
  having ilike in inner intersect is isnull join lateral left like limit natural not notnull null offset on or order outer
  over partition recursive right rollup row rows select sets similar some symmetric then to union using values when where
  window with within
  bigint bit bool boolean bpchar char character date decimal float float4 float8 int int2 int4 int8 integer interval numeric
  real smallint text time timestamp timestamptz uuid varchar varying`.split(/\s+/),
);

/** Words that make it something else than a read, wherever they stand unquoted. */
const FORBIDDEN: ReadonlySet<string> = new Set(
  `insert update delete merge truncate create alter drop grant revoke copy call do lock vacuum analyze refresh cluster
  reindex listen notify unlisten set reset prepare execute deallocate declare fetch move close begin commit rollback
  savepoint release into nextval setval for share temp temporary returning`.split(/\s+/),
);

const cache = new Map<string, boolean>();
const CACHE_TEXTS_MAX = 1000;
const CACHE_TEXT_LENGTH_MAX = 2000;

const STARTS = /^\s*(?:select|values|table|with|begin|start|show\s|\()/i;

/** A single SELECT, VALUES or TABLE without side effects, or the BEGIN of a READ ONLY transaction. */
export function isProvablyRead(text: string): boolean {
  if (!STARTS.test(text)) return false;
  const known = cache.get(text);
  if (known !== undefined) return known;
  const read = decide(tokenize(text));
  remember(text, read);
  return read;
}

/** A replica has refused it: for a while it is not taken for a read. */
export function rememberWrite(text: string): void {
  remember(text, false);
}

function remember(text: string, read: boolean): void {
  if (text.length > CACHE_TEXT_LENGTH_MAX) return;
  if (cache.size >= CACHE_TEXTS_MAX) cache.clear();
  cache.set(text, read);
}

function decide(tokens: readonly Token[]): boolean {
  const end = tokens.at(-1)?.text === ';' ? tokens.length - 1 : tokens.length;
  const first = tokens[0];
  if (first === undefined || tokens.slice(0, end).some((token) => token.text === ';' && token.kind === 'symbol'))
    return false;
  if (first.text === 'begin' || first.text === 'start') return isReadOnlyBegin(tokens.slice(0, end));
  if (!['select', 'values', 'table', 'with', '('].includes(first.text)) return false;
  for (let index = 0; index < end; index += 1) {
    const token = tokens[index] as Token;
    if (token.kind === 'word' && FORBIDDEN.has(token.text) && !isColumnLike(tokens, index)) return false;
    // Names of catalogue functions with side effects all begin so, also when written without a call's parenthesis right after.
    if (token.kind === 'quoted' && tokens[index + 1]?.text === '(') return false;
    if (tokens[index + 1]?.text !== '(' || token.kind !== 'word') continue;
    if (KEYWORDS.has(token.text)) continue;
    const schema = tokens[index - 1]?.text === '.' ? tokens[index - 2]?.text : undefined;
    if (schema !== undefined && schema !== 'pg_catalog') return false;
    if (!SAFE_FUNCTIONS.has(token.text)) return false;
  }
  return true;
}

/** `t.set` is a column; `FOR` and the like never follow a dot. */
function isColumnLike(tokens: readonly Token[], index: number): boolean {
  return tokens[index - 1]?.text === '.';
}

function isReadOnlyBegin(tokens: readonly Token[]): boolean {
  const words = tokens.map((token) => token.text).join(' ');
  return /\bread only\b/.test(words) && !/\bread write\b/.test(words);
}
