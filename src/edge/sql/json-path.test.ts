import { expect, test } from 'bun:test';
import { jsonElement, jsonMember, jsonText } from './json-path.ts';

const DOCUMENT = '{"a": [1, "x, \\"]}", {"b": null}], "b": {"a": -1.50}, "c\\n": "}{", "": true}';

test('members are slices of the document', () => {
  expect(jsonMember(DOCUMENT, 'a')).toBe('[1, "x, \\"]}", {"b": null}]');
  expect(jsonMember(DOCUMENT, 'b')).toBe('{"a": -1.50}');
  expect(jsonMember(DOCUMENT, 'c\n')).toBe('"}{"');
  expect(jsonMember(DOCUMENT, '')).toBe('true');
  expect(jsonMember(DOCUMENT, 'c')).toBeNull();
  for (const other of ['{}', '[]', '[{"a": 1}]', '"a"', '1', 'null']) expect(jsonMember(other, 'a')).toBeNull();
});

test('elements count from both ends', () => {
  const array = '[1, [2, 3], "a, b", {"x": [9]}]';
  expect([0, 1, 2, 3, 4].map((index) => jsonElement(array, index))).toEqual([
    '1',
    '[2, 3]',
    '"a, b"',
    '{"x": [9]}',
    null,
  ]);
  expect([-1, -4, -5].map((index) => jsonElement(array, index))).toEqual(['{"x": [9]}', '1', null]);
  expect(jsonElement('[]', 0)).toBeNull();
  expect(jsonElement('{"0": 1}', 0)).toBeNull();
});

test('text is the string itself, NULL of null, else what is printed', () => {
  expect(['"a\\"\\u00e9"', 'null', '-1.50', '{"a": 1}'].map(jsonText)).toEqual(['a"é', null, '-1.50', '{"a": 1}']);
});
