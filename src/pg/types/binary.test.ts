import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Fault } from '../../base/fault.ts';
import { builtinTypes, OID } from '../oid.ts';
import { binaryFromText, hasBinary, textFromBinary, type TypeLookup } from './binary.ts';

const RUNS = 5000;

test('bytes that are not of a type are refused with 22P03, never anything else', () => {
  const known = builtinTypes().filter((type) => hasBinary(type.oid));
  expect(known.length).toBeGreaterThan(100);
  const bytes = fc.uint8Array({ maxLength: 40 });
  // Small numbers make counts and lengths that are nearly right.
  const nearly = fc
    .array(fc.constantFrom(0, 0, 0, 0, 1, 2, 4, 255, 23, 25), { maxLength: 60 })
    .map((list) => Uint8Array.from(list));
  fc.assert(
    fc.property(fc.constantFrom(...known), fc.oneof(bytes, nearly), (type, value) => {
      try {
        expect(typeof textFromBinary(type.oid, value)).toBe('string');
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
        expect((error as Fault).sqlstate).toBe('22P03');
      }
    }),
    { numRuns: RUNS },
  );
});

test('text that is not of a type is refused with 22P02', () => {
  const bad: [number, string][] = [
    [OID.int4, ''],
    [OID.int4, '2147483648'],
    [OID.int2, '1e3'],
    [OID.int8, '9223372036854775808'],
    [OID.bool, 'maybe'],
    [OID.float8, 'abc'],
    [OID.float8, ''],
    [OID.numeric, '.'],
    [OID.uuid, 'x'],
    [OID.date, '2024'],
    [OID.timestamptz, 'now'],
    [OID.interval, ''],
    [OID.interval, '5 parsecs'],
    [OID.inet, '1.2.3'],
    [OID.inet, '1.2.3.4/33'],
    [OID.inet, '1:2'],
    [OID.macaddr, '00:11'],
    [OID.bit, '102'],
    [OID.bytea, '\\xabc'],
    [OID.int4Array, '{1'],
    [OID.int4Array, '{1,{2}}'],
    [OID.int4Array, '{a}'],
    [3904, '[1,'],
    [OID.pgLsn, '1'],
  ];
  for (const [oid, text] of bad) {
    let sqlstate = 'none';
    try {
      binaryFromText(oid, text);
    } catch (error) {
      sqlstate = error instanceof Fault ? error.sqlstate : String(error);
    }
    expect(`${oid} ${text} ${sqlstate}`).toBe(`${oid} ${text} 22P02`);
  }
});

test('enums, domains and their arrays are found through the lookup; unknown types have no binary form', () => {
  const facts: Record<number, ReturnType<TypeLookup>> = {
    20000: { kind: 'e', category: 'E', elementOid: 0, baseOid: 0 },
    20001: { kind: 'b', category: 'A', elementOid: 20000, baseOid: 0 },
    20002: { kind: 'd', category: 'N', elementOid: 0, baseOid: OID.int4 },
    20003: { kind: 'd', category: 'N', elementOid: 0, baseOid: 20002 },
    20004: { kind: 'c', category: 'C', elementOid: 0, baseOid: 0 },
    20005: { kind: 'd', category: 'N', elementOid: 0, baseOid: 20005 },
  };
  const lookup: TypeLookup = (oid) => facts[oid];
  expect(binaryFromText(20000, 'sad', lookup).toString()).toBe('sad');
  expect(textFromBinary(20001, binaryFromText(20001, '{sad,NULL}', lookup), lookup)).toBe('{sad,NULL}');
  expect(binaryFromText(20003, '7', lookup).toString('hex')).toBe('00000007');
  expect(hasBinary(20004, lookup)).toBe(false);
  expect(hasBinary(20005, lookup)).toBe(false);
  expect(hasBinary(99999, lookup)).toBe(false);
  expect(() => binaryFromText(20004, '(1)', lookup)).toThrow(Fault);
});
