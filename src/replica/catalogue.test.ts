import { expect, test } from 'bun:test';
import { catalogueImage, tableImage } from '../../test/replica-images.ts';
import { Catalogue } from './catalogue.ts';

const columns = [{ name: 'id', typeOid: 23 }];
const NOTHING = {
  version: 1,
  tag: 'DROP TABLE',
  tables: [],
  types: [],
  droppedTables: [],
  rewrittenTables: [],
} as const;

test('a dropped partition is no child of its parent any more; one that is only no longer published is', () => {
  const parent = { ...tableImage({ oid: 1, name: 'p', columns }), kind: 'p' as const, childOids: [2, 3] };
  const leaves = [2, 3].map((oid) => tableImage({ oid, name: `p${oid}`, columns }));
  const catalogue = new Catalogue(catalogueImage([parent, ...leaves]));
  const dropped = catalogue.apply({ ...NOTHING, droppedTables: [2] });
  expect(catalogue.table(1)?.childOids).toEqual([3]);
  expect(dropped.relatives.map((table) => table.oid)).toEqual([1]);
  // Whoever unpublishes describes the parent as it is in the same change.
  catalogue.apply({ ...NOTHING, droppedTables: [3], tables: [{ ...parent, childOids: [3] }] });
  expect(catalogue.table(1)?.childOids).toEqual([3]);
  expect(catalogue.table(3)).toBeUndefined();
});
