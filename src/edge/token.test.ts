// Tokens: whole and unchanged ones are read back, everything else is refused.

import { expect, test } from 'bun:test';
import { formatToken, parseToken, requireSameSystem } from './token.ts';

const POSITION = { epoch: { systemId: '7431294857023948572', timeline: 3 }, lsn: 0x16_b374_d848n };

test('what was formatted is read back', () => {
  const token = formatToken(POSITION);
  expect(token).toMatch(/^sk1\.[\w-]{32}$/);
  expect(parseToken(token)).toEqual(POSITION);
});

test('each character counts', () => {
  const token = formatToken(POSITION);
  for (let index = 0; index < token.length; index += 1) {
    const other = token[index] === 'A' ? 'B' : 'A';
    expect(() => parseToken(token.slice(0, index) + other + token.slice(index + 1))).toThrow('skerry.token');
  }
});

test.each(['', 'sk1.', '0/16B3748', `${formatToken(POSITION)}=`, formatToken(POSITION).slice(0, -1)])(
  'INVARIANT_I10: %p is no token',
  (text) => {
    expect(() => parseToken(text)).toThrow('invalid value for parameter "skerry.token"');
  },
);

test('a token of another system is refused, an unknown own system refuses none', () => {
  requireSameSystem(POSITION, null);
  requireSameSystem(POSITION, POSITION.epoch.systemId);
  expect(() => requireSameSystem(POSITION, '1')).toThrow('another database system');
});
