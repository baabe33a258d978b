// Whether a statement that is forwarded may write or lock. Unsure means yes: then the server waits for the edge to catch up
// with the core after it, which costs time but never shows a client less than it wrote.

import { type Fields, list, names, type Node } from './parse.ts';

/** Functions of pg_catalog that clients call and that change nothing. */
const READ_ONLY_FUNCTIONS = new Set(
  `
abs age array_agg array_length array_lower array_position array_to_json array_to_string array_upper avg bool_and bool_or
btrim cardinality ceil ceiling char_length coalesce col_description concat concat_ws convert_from convert_to count
cume_dist current_database current_schema current_schemas current_setting current_user date_part date_trunc decode
dense_rank encode every exp extract first_value floor format format_type generate_series generate_subscripts greatest
has_any_column_privilege has_column_privilege has_database_privilege has_function_privilege has_schema_privilege
has_sequence_privilege has_table_privilege inet_server_addr inet_server_port initcap json_agg json_array_elements
json_array_elements_text json_array_length json_build_array json_build_object json_each json_each_text json_object_agg
jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
jsonb_each_text jsonb_object_agg jsonb_object_keys jsonb_set jsonb_typeof json_object_keys json_typeof lag last_value lead
least left length ln log lower lpad ltrim make_date make_interval make_timestamp max md5 min mod mode now ntile nullif
num_nonnulls num_nulls obj_description octet_length overlay parse_ident percent_rank percentile_cont percentile_disc
pg_backend_pid pg_column_size pg_database_size pg_encoding_to_char pg_function_is_visible pg_get_constraintdef pg_get_expr
pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result pg_get_functiondef pg_get_indexdef
pg_get_keywords pg_get_partkeydef pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef_columns pg_get_triggerdef
pg_get_userbyid pg_get_viewdef pg_indexes_size pg_is_in_recovery pg_current_wal_lsn pg_my_temp_schema
pg_is_other_temp_schema pg_postmaster_start_time pg_relation_filenode pg_relation_is_publishable pg_relation_size
pg_size_pretty pg_table_is_visible pg_table_size pg_tablespace_location pg_total_relation_size pg_type_is_visible pg_typeof
position power quote_ident quote_literal random rank regexp_match regexp_matches regexp_replace regexp_split_to_array
regexp_split_to_table repeat replace reverse right round row_number row_to_json rpad rtrim sha256 shobj_description sign
split_part sqrt starts_with stddev string_agg string_to_array strpos substr substring sum timezone to_char to_date to_json
to_jsonb to_number to_regclass to_regtype to_timestamp to_tsquery to_tsvector transaction_timestamp translate trim trunc
ts_rank txid_current_snapshot unnest upper variance version width_bucket
`
    .trim()
    .split(/\s+/),
);

/** Whether executing the statement may write, lock, or change the session. */
export function mayWrite(node: Node): boolean {
  const kind = Object.keys(node)[0] as string;
  const fields = node[kind] as Fields;
  switch (kind) {
    case 'SelectStmt':
      return writesInside(fields);
    case 'ExplainStmt': {
      const isAnalyze = list(fields['options']).some((option) => option['DefElem']?.['defname'] === 'analyze');
      return isAnalyze && mayWrite(fields['query'] as Node);
    }
    default:
      return true;
  }
}

function writesInside(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(writesInside);
  if (typeof value !== 'object' || value === null) return false;
  for (const [key, inner] of Object.entries(value)) {
    switch (key) {
      case 'InsertStmt':
      case 'UpdateStmt':
      case 'DeleteStmt':
      case 'MergeStmt':
      case 'intoClause':
      case 'lockingClause':
        return true;
      case 'FuncCall': {
        const path = names((inner as Fields)['funcname']);
        const isKnown = path !== null && (path.length === 1 || path[0] === 'pg_catalog');
        if (!isKnown || !READ_ONLY_FUNCTIONS.has(path[path.length - 1] as string)) return true;
      }
    }
    if (writesInside(inner)) return true;
  }
  return false;
}
