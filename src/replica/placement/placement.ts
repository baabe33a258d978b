// What a placement means for the tables that are there: which it holds, with which columns, and what a PoP may be told of them.

import { Fault } from '../../base/fault.ts';
import type { CatalogueImage, ColumnImage, TableImage, TypeImage } from '../../contracts/catalogue.ts';
import type { OwnPlacement, PlacementInForce, PlacementSpec } from '../../contracts/placement.ts';
import { quoteAlways } from '../../pg/identifier.ts';
import type { Catalogue } from '../catalogue.ts';
import { isStored, type TableLayout, tableLayout } from '../layout.ts';
import { type ColumnSql, conditionSql } from './condition.ts';
import { type Condition, type PlacedTable, parsePlacedTable } from './syntax.ts';

export interface HeldTable {
  readonly oid: number;
  /** As it is here, whole. */
  readonly full: TableLayout;
  /** As the PoP is told of it. */
  readonly image: TableImage;
  /** Columns that are sent, in attnum order. */
  readonly attnums: readonly number[];
  readonly condition: { readonly node: Condition; readonly text: string } | null;
}

export interface ResolvedPlacement {
  readonly held: ReadonlyMap<number, HeldTable>;
  /** Partitioned tables, which have no rows themselves, by OID: as the PoP is told of them. */
  readonly shapes: ReadonlyMap<number, TableImage>;
  /** Types that the held columns need. */
  readonly types: readonly TypeImage[];
  /** Sentences: tables that are meant and cannot be held. */
  readonly problems: readonly string[];
}

const NAME = /^[a-z][a-z0-9_-]{0,62}$/;
const POPS_MAX = 10_000;
const TABLES_MAX = 10_000;

/** Checks what does not depend on the tables that are there. Throws Fault `placement-invalid`. */
export function checkSpec(spec: PlacementSpec): void {
  const refuse = (message: string): never => {
    throw new Fault('placement-invalid', { message: `placement "${spec.name}": ${message}`, sqlstate: '22023' });
  };
  if (!NAME.test(spec.name))
    refuse('a name is made of a-z, 0-9, _ and -, begins with a letter and has 63 of them at most');
  if (spec.pops.length > POPS_MAX) refuse(`it names more than ${POPS_MAX} PoPs`);
  if (spec.pops.some((pop) => pop === '' || pop.length > 256)) refuse('the name of a PoP is empty or too long');
  if (spec.tables.length > TABLES_MAX) refuse(`it has more than ${TABLES_MAX} tables`);
  if (spec.forward !== 'allow' && spec.forward !== 'never') refuse('forward is allow or never');
  const seen = new Set<string>();
  for (const item of itemsOf(spec)) {
    const key = `${item.schema ?? '*'}\u0000${item.name ?? '*'}\u0000${item.isPrefix}`;
    if (seen.has(key)) refuse(`table ${item.schema ?? ''}.${item.name ?? '*'} is there twice`);
    seen.add(key);
  }
}

/** Checks that no PoP belongs to two placements. Throws Fault `placement-invalid`. */
export function checkSpecs(specs: readonly PlacementSpec[]): void {
  const owners = new Map<string, string>();
  for (const spec of specs) {
    checkSpec(spec);
    for (const pop of spec.pops) {
      const other = owners.get(pop);
      if (other !== undefined) {
        throw new Fault('placement-invalid', {
          message: `PoP "${pop}" belongs to two placements, "${other}" and "${spec.name}"`,
          hint: 'a PoP holds one placement; take it out of the other first',
          sqlstate: '22023',
        });
      }
      owners.set(pop, spec.name);
    }
  }
}

/** The placement of a PoP; null when there is none for it. */
export function placementOf(specs: readonly PlacementSpec[], identity: string): PlacementSpec | null {
  return specs.find((spec) => spec.pops.includes(identity)) ?? specs.find((spec) => spec.pops.includes('*')) ?? null;
}

/** True when it leaves nothing out. */
export function holdsEverything(spec: PlacementSpec): boolean {
  return (
    itemsOf(spec).every((item) => item.schema === null && item.columns === null && item.condition === null) &&
    spec.tables.length > 0
  );
}

function itemsOf(spec: PlacementSpec): PlacedTable[] {
  return spec.tables.map((text, index) => {
    try {
      return parsePlacedTable(text);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      throw new Fault(error.code, {
        message: `placement "${spec.name}", table ${index + 1}: ${error.message}`,
        sqlstate: error.sqlstate,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
    }
  });
}

/** Which tables of `catalogue` a placement holds. What does not fit is not held, and told as a problem: closed by default. */
export function resolvePlacement(spec: PlacementSpec, catalogue: Catalogue): ResolvedPlacement {
  const items = itemsOf(spec);
  const held = new Map<number, HeldTable>();
  const problems: string[] = [];
  const shapes = new Map<number, TableImage>();
  const used = new Set<PlacedTable>();
  const parents = parentsOf(catalogue);
  for (const image of catalogue.tables()) {
    const item = bestItem(items, image, parents);
    if (item === null) continue;
    used.add(item);
    try {
      if (isStored(image)) held.set(image.oid, holdTable(image, item, catalogue));
      else if (image.kind === 'p') shapes.set(image.oid, shapeOf(image, item));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      problems.push(`${image.schema}.${image.name} is not held: ${error.message}`);
    }
  }
  for (const [index, item] of items.entries()) {
    if (!used.has(item)) problems.push(`no table is meant by ${spec.tables[index]}`);
  }
  const images = [...[...held.values()].map((one) => one.image), ...shapes.values()];
  return { held, shapes, types: neededTypes(images, catalogue), problems };
}

/** Partitioned tables by the OIDs of their partitions. */
function parentsOf(catalogue: Catalogue): ReadonlyMap<number, TableImage> {
  const parents = new Map<number, TableImage>();
  for (const image of catalogue.tables()) {
    if (image.kind === 'p') for (const oid of image.childOids ?? []) parents.set(oid, image);
  }
  return parents;
}

/** The item that speaks of a table: the most exact one. A partition that is not named itself goes with its table. */
function bestItem(
  items: readonly PlacedTable[],
  image: TableImage,
  parents: ReadonlyMap<number, TableImage>,
): PlacedTable | null {
  const own = ownItem(items, image);
  if (own !== null && exactness(own) === EXACT) return own;
  const parent = parents.get(image.oid);
  const inherited = parent === undefined ? null : bestItem(items, parent, parents);
  return inherited !== null && exactness(inherited) === EXACT ? inherited : own;
}

function ownItem(items: readonly PlacedTable[], image: TableImage): PlacedTable | null {
  let best: PlacedTable | null = null;
  for (const item of items) {
    if (item.schema !== null && item.schema !== image.schema) continue;
    if (item.name !== null && (item.isPrefix ? !image.name.startsWith(item.name) : item.name !== image.name)) continue;
    if (best === null || exactness(item) > exactness(best)) best = item;
  }
  return best;
}

/** More than any name is long. */
const EXACT = 1000;

function exactness(item: PlacedTable): number {
  if (item.schema === null) return 0;
  if (item.name === null) return 1;
  return item.isPrefix ? 2 + item.name.length : EXACT;
}

function holdTable(image: TableImage, item: PlacedTable, catalogue: Catalogue): HeldTable {
  const full = tableLayout(image, catalogue);
  const attnums = heldAttnums(image, item);
  const key = new Set([...full.key.map((column) => column.attnum), ...image.primaryKeyAttnums]);
  if (image.replicaIdentity === 'i') for (const attnum of image.identityAttnums) key.add(attnum);
  const missing = image.columns.filter((column) => key.has(column.attnum) && !attnums.includes(column.attnum));
  if (missing.length > 0) {
    throw new Fault('placement-invalid', {
      message: `its key needs ${missing.map((column) => `"${column.name}"`).join(', ')} among the columns`,
    });
  }
  const condition =
    item.condition === null || item.conditionText === null ? null : { node: item.condition, text: item.conditionText };
  // Written once now, so that a condition that cannot be understood is found here and nowhere later.
  if (condition !== null) conditionSql(condition.node, condition.text, full, catalogue, storedColumn);
  return { oid: image.oid, full, image: restrictImage(image, attnums, condition?.text ?? null), attnums, condition };
}

/** A partitioned table is known by its columns; its partitions say which rows there are. */
function shapeOf(image: TableImage, item: PlacedTable): TableImage {
  return restrictImage(image, heldAttnums(image, item), item.conditionText);
}

function heldAttnums(image: TableImage, item: PlacedTable): number[] {
  const { columns: wanted } = item;
  if (wanted === null) return image.columns.filter((column) => column.replicated).map((column) => column.attnum);
  const attnums = wanted.map((name) => {
    const column = image.columns.find((one) => one.name === name);
    if (column?.replicated !== true)
      throw new Fault('placement-invalid', { message: `it has no replicated column "${name}"` });
    return column.attnum;
  });
  return attnums.toSorted((a, b) => a - b);
}

/** SQL of a column in a row of its table. */
export const storedColumn: ColumnSql = (column, form) =>
  quoteAlways(form === 'key' && column.keyName !== null ? column.keyName : column.sqlName);

/** SQL that is 1 for rows that are held; `1` without a condition. */
export function heldSql(held: HeldTable, catalogue: Catalogue, columnSql: ColumnSql = storedColumn): string {
  const { condition } = held;
  if (condition === null) return '1';
  return `(${conditionSql(condition.node, condition.text, held.full, catalogue, columnSql)}) IS TRUE`;
}

/**
 * What a PoP may know of a table: nothing that names a column it does not hold, or another table. Definitions of indexes and
 * constraints are texts, and are left out as soon as they could.
 */
function restrictImage(image: TableImage, attnums: readonly number[], condition: string | null): TableImage {
  const kept = new Set(attnums);
  // Columns that the publication itself leaves out are known by name where all columns are held.
  const columns = image.columns.filter(
    (column) => kept.has(column.attnum) || (!column.replicated && isWhole(image, kept)),
  );
  const whole = columns.length === image.columns.length;
  const rowFilter = [image.rowFilter, condition].filter((one) => one !== null);
  return {
    ...image,
    identityAttnums: image.identityAttnums.filter((attnum) => kept.has(attnum)),
    columns: whole ? columns : columns.map(restrictColumn),
    indexes: image.indexes.filter(
      (index) =>
        whole ||
        (!index.partial &&
          index.keyAttnums.every((attnum) => attnum > 0 && kept.has(attnum)) &&
          !/ INCLUDE /.test(index.definition)),
    ),
    // A foreign key names another table; a primary key may carry other columns along.
    constraints: image.constraints
      .filter(({ type }) => type === 'p' || (whole && type !== 'f'))
      .map((one) =>
        whole ? one : { ...one, definition: one.definition.replace(/ INCLUDE \(.*?\)(?= DEFERRABLE|$)/, '') },
      ),
    rowFilter:
      rowFilter.length === 0
        ? null
        : rowFilter.length === 1
          ? (rowFilter[0] as string)
          : rowFilter.map((one) => `(${one})`).join(' AND '),
    ...(whole ? {} : { columnsWithheld: true }),
  };
}

function isWhole(image: TableImage, kept: ReadonlySet<number>): boolean {
  return image.columns.every((column) => !column.replicated || kept.has(column.attnum));
}

/** The expression of a generated column names others. */
function restrictColumn(column: ColumnImage): ColumnImage {
  return column.generated === '' ? column : { ...column, defaultText: null };
}

function neededTypes(images: readonly TableImage[], catalogue: Catalogue): TypeImage[] {
  const needed = new Map<number, TypeImage>();
  const visit = (oid: number): void => {
    const type = catalogue.type(oid);
    if (type === undefined || needed.has(oid)) return;
    needed.set(oid, type);
    visit(type.elementOid);
    visit(type.baseOid);
    visit(type.arrayOid);
  };
  for (const image of images) for (const column of image.columns) visit(column.typeOid);
  return [...needed.values()].toSorted((a, b) => a.oid - b.oid);
}

/** What a PoP is told of its own placement. */
export function ownPlacement({ spec, history }: PlacementInForce): OwnPlacement {
  return { name: spec.name, history, forward: spec.forward };
}

/** The catalogue that a PoP of this placement has. */
export function restrictCatalogue(
  catalogue: Catalogue,
  placement: PlacementInForce,
  resolved: ResolvedPlacement,
): CatalogueImage {
  return {
    ...catalogue.server,
    placement: ownPlacement(placement),
    tables: [...[...resolved.held.values()].map((held) => held.image), ...resolved.shapes.values()],
    types: resolved.types,
  };
}
