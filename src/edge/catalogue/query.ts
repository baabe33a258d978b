// Which statements are questions about the core's catalogue and nothing else: one SELECT over tables of definitions, with
// functions that only look at definitions. Only their answers may be remembered (see answers.ts); unknown means no.

import { type Fields, list, names, type Node } from '../sql/parse.ts';

/** Relations of pg_catalog that hold definitions. Left out: statistics, activity, locks, settings, slots, sequences' positions. */
const RELATIONS = new Set(
  `
pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_cast pg_class pg_collation pg_constraint
pg_conversion pg_database pg_db_role_setting pg_default_acl pg_depend pg_description pg_enum pg_event_trigger pg_extension
pg_foreign_data_wrapper pg_foreign_server pg_foreign_table pg_group pg_index pg_indexes pg_inherits pg_init_privs
pg_language pg_matviews pg_namespace pg_opclass pg_operator pg_opfamily pg_parameter_acl pg_partitioned_table pg_policies
pg_policy pg_proc pg_publication pg_publication_namespace pg_publication_rel pg_publication_tables pg_range pg_rewrite
pg_roles pg_rules pg_seclabel pg_seclabels pg_sequence pg_shdepend pg_shdescription pg_shseclabel pg_statistic_ext
pg_tables pg_tablespace pg_transform pg_trigger pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser pg_ts_template pg_type
pg_user pg_user_mappings pg_views
`
    .trim()
    .split(/\s+/),
);

/** Functions whose answer depends on definitions and arguments only. Left out: sizes, times, progress, anything of the session's. */
const FUNCTIONS = new Set(
  `
abs acldefault aclexplode array_agg array_length array_lower array_position array_remove array_to_json array_to_string
array_upper bool_and bool_or btrim cardinality char_length col_description concat concat_ws count current_database
current_schema current_schemas format format_type generate_series generate_subscripts has_any_column_privilege
has_column_privilege has_database_privilege has_function_privilege has_schema_privilege has_sequence_privilege
has_table_privilege has_type_privilege json_agg json_build_array json_build_object json_object_agg jsonb_agg
jsonb_build_array jsonb_build_object jsonb_object_agg left length lower lpad ltrim max min obj_description octet_length
parse_ident pg_collation_is_visible pg_conversion_is_visible pg_describe_object pg_encoding_to_char pg_function_is_visible
pg_get_constraintdef pg_get_expr pg_get_function_arg_default pg_get_function_arguments pg_get_function_identity_arguments
pg_get_function_result pg_get_function_sqlbody pg_get_functiondef pg_get_indexdef pg_get_keywords
pg_get_partition_constraintdef pg_get_partkeydef pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef
pg_get_statisticsobjdef_columns pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid pg_get_viewdef
pg_has_role pg_identify_object pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible pg_partition_ancestors
pg_partition_root pg_relation_is_publishable pg_statistics_obj_is_visible pg_table_is_visible pg_ts_config_is_visible
pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible pg_typeof quote_ident
quote_literal regexp_match regexp_matches regexp_replace repeat replace reverse right row_number row_to_json rpad rtrim
shobj_description split_part starts_with string_agg string_to_array strpos substr substring sum to_json to_jsonb to_regclass
to_regnamespace to_regproc to_regtype translate trim unnest upper
`
    .trim()
    .split(/\s+/),
);

/** Of CURRENT_USER and its kind, those that are the same for all sessions of an edge. */
const SESSION_VALUES = /^SVFOP_(CURRENT_USER|CURRENT_ROLE|USER|SESSION_USER|CURRENT_CATALOG|CURRENT_SCHEMA)$/;

/** Whether a parsed statement asks for definitions only, and always gives the same while those stay as they are. */
export function asksCatalogueOnly(node: Node): boolean {
  const select = node['SelectStmt'];
  if (select === undefined) return false;
  const seen = { definitions: 0, withNames: withNames(select) };
  return isHarmless(select, seen) && seen.definitions > 0;
}

function isHarmless(value: unknown, seen: { definitions: number; readonly withNames: ReadonlySet<string> }): boolean {
  if (Array.isArray(value)) return value.every((inner) => isHarmless(inner, seen));
  if (typeof value !== 'object' || value === null) return true;
  for (const [key, inner] of Object.entries(value)) {
    switch (key) {
      case 'intoClause':
      case 'lockingClause':
      case 'ParamRef':
        return false;
      case 'RangeVar':
        if (!isDefinitions(inner as Fields, seen.withNames)) return false;
        seen.definitions += 1;
        break;
      case 'FuncCall': {
        const path = names((inner as Fields)['funcname']);
        const isBuiltIn = path !== null && (path.length === 1 || path[0] === 'pg_catalog');
        const name = path?.at(-1) ?? '';
        if (!isBuiltIn || !FUNCTIONS.has(name)) return false;
        if (name.startsWith('pg_get_')) seen.definitions += 1;
        break;
      }
      case 'SQLValueFunction':
        if (!SESSION_VALUES.test(String((inner as Fields)['op']))) return false;
        break;
      default:
        if (key.endsWith('Stmt') && key !== 'SelectStmt') return false;
    }
    if (!isHarmless(inner, seen)) return false;
  }
  return true;
}

function isDefinitions({ catalogname, schemaname, relname }: Fields, withNames: ReadonlySet<string>): boolean {
  if (catalogname !== undefined || typeof relname !== 'string') return false;
  if (schemaname === 'information_schema') return relname !== 'sequences';
  if (schemaname === undefined && withNames.has(relname)) return true;
  // Without a schema: pg_catalog comes first in any search_path that does not name it, and one that does is not the usual one.
  return (schemaname === undefined || schemaname === 'pg_catalog') && RELATIONS.has(relname);
}

function withNames(value: unknown, found = new Set<string>()): Set<string> {
  if (Array.isArray(value)) for (const inner of list(value)) withNames(inner, found);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'CommonTableExpr') found.add(String((inner as Fields)['ctename']));
      withNames(inner, found);
    }
  }
  return found;
}
