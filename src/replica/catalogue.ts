// What a replica knows about the core's tables and types, at one position. Changes only by `SchemaChange` messages.

import type { CatalogueImage, SchemaChange, TableImage, TypeImage } from '../contracts/catalogue.ts';
import { builtinType, isBuiltinArray, OID } from '../pg/oid.ts';

/** A type reduced to what values of it are: domains are followed to their base. */
export interface ResolvedType {
  /** The base type's OID: built in, or a type of the database (then `image` is there). */
  readonly oid: number;
  /** b base, e enum, c composite, r range, m multirange, p pseudo. Never d. */
  readonly kind: string;
  readonly isArray: boolean;
  readonly elementOid: number;
  readonly image: TypeImage | null;
}

/** What `Catalogue.apply` did, for those who keep derived things. */
export interface CatalogueDifference {
  readonly created: readonly TableImage[];
  readonly changed: readonly { readonly before: TableImage; readonly after: TableImage }[];
  readonly dropped: readonly TableImage[];
  /** Parents of what was dropped, unless the change itself describes them. */
  readonly relatives: readonly TableImage[];
  readonly types: readonly TypeImage[];
}

/** A domain over a domain over … : deeper than this is a loop in the image. */
const DOMAIN_DEPTH_MAX = 64;

export class Catalogue {
  /** Server facts: everything of the image but its tables and types. Replaced as a whole when the placement changes. */
  server: Omit<CatalogueImage, 'tables' | 'types'>;
  #version: number;
  readonly #tables = new Map<number, TableImage>();
  readonly #types = new Map<number, TypeImage>();
  /** JSON text of [schema, name] -> oid. Rebuilt when needed: renames may swap names within one change. */
  #byName: Map<string, number> | null = null;
  #typesByName: Map<string, number> | null = null;

  constructor(image: CatalogueImage, version = 1) {
    const { tables, types, ...server } = image;
    this.server = server;
    this.#version = version;
    for (const table of tables) this.#tables.set(table.oid, table);
    for (const type of types) this.#types.set(type.oid, type);
  }

  /** Grows with every change; equal versions of one replica file mean equal catalogues. */
  get version(): number {
    return this.#version;
  }

  tables(): Iterable<TableImage> {
    return this.#tables.values();
  }

  types(): Iterable<TypeImage> {
    return this.#types.values();
  }

  get tableCount(): number {
    return this.#tables.size;
  }

  table(oid: number): TableImage | undefined {
    return this.#tables.get(oid);
  }

  /** The table, partitioned parent or view of that name. */
  find(schema: string, name: string): TableImage | undefined {
    if (this.#byName === null) {
      this.#byName = new Map();
      for (const table of this.#tables.values()) this.#byName.set(nameKey(table.schema, table.name), table.oid);
    }
    const oid = this.#byName.get(nameKey(schema, name));
    return oid === undefined ? undefined : this.#tables.get(oid);
  }

  /** A type of the database; undefined for built-in ones (see `builtinType`) and unknown ones. */
  type(oid: number): TypeImage | undefined {
    return this.#types.get(oid);
  }

  findType(schema: string, name: string): TypeImage | undefined {
    if (this.#typesByName === null) {
      this.#typesByName = new Map();
      for (const type of this.#types.values()) this.#typesByName.set(nameKey(type.schema, type.name), type.oid);
    }
    const oid = this.#typesByName.get(nameKey(schema, name));
    return oid === undefined ? undefined : this.#types.get(oid);
  }

  /** Follows domains to their base; null when the type is unknown here. */
  resolveType(oid: number): ResolvedType | null {
    let current = oid;
    for (let depth = 0; depth < DOMAIN_DEPTH_MAX; depth += 1) {
      const builtin = builtinType(current);
      if (builtin !== undefined) {
        const isArray = isBuiltinArray(current);
        return {
          oid: current,
          kind: builtin.kind,
          isArray,
          elementOid: isArray ? builtin.elementOid : 0,
          image: null,
        };
      }
      const image = this.#types.get(current);
      if (image === undefined) return null;
      if (image.kind !== 'd') {
        const isArray = image.category === 'A' && image.elementOid !== 0;
        return { oid: current, kind: image.kind, isArray, elementOid: isArray ? image.elementOid : 0, image };
      }
      current = image.baseOid;
    }
    return null;
  }

  /** Base type's OID for built-in types and domains over them, `text` for everything that is only known as text. */
  storageType(oid: number): number {
    const resolved = this.resolveType(oid);
    return resolved !== null && builtinType(resolved.oid) !== undefined ? resolved.oid : OID.text;
  }

  /** Takes over a change. Images replace what was known, so that applying one twice changes nothing more. */
  apply(change: SchemaChange): CatalogueDifference {
    const created: TableImage[] = [];
    const changed: { before: TableImage; after: TableImage }[] = [];
    const dropped: TableImage[] = [];
    const relatives: TableImage[] = [];
    for (const oid of change.droppedTables) {
      const before = this.#tables.get(oid);
      if (before !== undefined) dropped.push(before);
      this.#tables.delete(oid);
    }
    const gone = new Set(change.droppedTables);
    for (const parent of gone.size === 0 ? [] : this.#tables.values()) {
      if (parent.childOids?.some((oid) => gone.has(oid)) !== true) continue;
      // DROP of a partition says nothing of its parent. What is only no longer published comes with the parent's image.
      const after = { ...parent, childOids: parent.childOids.filter((oid) => !gone.has(oid)) };
      this.#tables.set(parent.oid, after);
      relatives.push(after);
    }
    for (const type of change.types) this.#types.set(type.oid, type);
    for (const after of change.tables) {
      const before = this.#tables.get(after.oid);
      if (before === undefined) created.push(after);
      else changed.push({ before, after });
      this.#tables.set(after.oid, after);
    }
    this.#byName = null;
    this.#typesByName = null;
    this.#version += 1;
    return { created, changed, dropped, relatives, types: change.types };
  }

  /** The whole as an image again, e.g. to send it on. */
  image(): CatalogueImage {
    return { ...this.server, tables: [...this.#tables.values()], types: [...this.#types.values()] };
  }
}

function nameKey(schema: string, name: string): string {
  // A NUL cannot be in a name.
  return `${schema}\u0000${name}`;
}
