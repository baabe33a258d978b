// From a question about one table to the same question about every table. psql spells a table as `'16385'` (its OID) or as
// `'^(name)$'`; a text that names one of the replicated tables so becomes a template with {oid}, {schema}, {name}.

import type { TableImage } from '../../contracts/catalogue.ts';

type Table = Pick<TableImage, 'oid' | 'schema' | 'name'>;

/** Names that psql writes into a pattern as they are. */
const PLAIN_NAME = /^[a-z_][a-z0-9_]*$/;

const PATTERN = /'\^\(([a-z_][a-z0-9_]*)\)\$'/g;
const OID = /'(\d{1,10})'/g;

/** The template of a text about one of `tables`; null when it is about none, or about several. */
export function templateOf(text: string, tables: Iterable<Table>): string | null {
  const oids = new Set([...text.matchAll(OID)].map((found) => Number(found[1])));
  const patterns = new Set([...text.matchAll(PATTERN)].map((found) => found[1] as string));
  if (oids.size === 0 && patterns.size === 0) return null;
  for (const table of tables) {
    if (oids.size > 0 ? oids.size !== 1 || !oids.has(table.oid) : !patterns.has(table.name)) continue;
    // A table named like its schema cannot be told apart.
    if (patterns.size > 0 && table.name === table.schema) continue;
    if ([...patterns].some((pattern) => pattern !== table.name && pattern !== table.schema)) continue;
    return text
      .replaceAll(OID, "'{oid}'")
      .replaceAll(PATTERN, (_, name: string) => (name === table.name ? "'^({name})$'" : "'^({schema})$'"));
  }
  return null;
}

/** All texts that a template gives for these tables. */
export function* expand(template: string, tables: Iterable<Table>): Iterable<string> {
  const named = template.includes("'^(");
  for (const { oid, schema, name } of tables) {
    if (named && !(PLAIN_NAME.test(schema) && PLAIN_NAME.test(name))) continue;
    yield template
      .replaceAll("'{oid}'", `'${oid}'`)
      // Not as texts: `$'` means something in a replacement.
      .replaceAll("'^({schema})$'", () => `'^(${schema})$'`)
      .replaceAll("'^({name})$'", () => `'^(${name})$'`);
  }
}
