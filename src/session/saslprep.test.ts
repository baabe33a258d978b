import { expect, test } from 'bun:test';
import { prepareSaslPassword } from './saslprep.ts';

test('passwords are prepared as in RFC 4013, and used as they are where it forbids them', () => {
  const cases: [password: string, prepared: string, why: string][] = [
    ['I\u00adX', 'IX', 'soft hyphen goes'],
    ['user', 'user', 'nothing to do'],
    ['USER', 'USER', 'case stays'],
    ['\u00aa', 'a', 'NFKC'],
    ['\u2168', 'IX', 'NFKC'],
    ['a\u00a0b', 'a b', 'other spaces become the space'],
    ['a\u200bb', 'a b', 'zero width space is in both tables, and the space one comes first in Postgres'],
    ['\u0007é', '\u0007é', 'control characters are prohibited'],
    ['\u0627\u0031', '\u06271', 'right-to-left text must end so: prohibited'],
    ['\u0627\u0031\u0628', '\u0627\u0031\u0628', 'right-to-left with digits inside is fine'],
    ['\u00ad', '\u00ad', 'nothing would be left'],
    ['\u0378\u2168', '\u0378\u2168', 'unassigned in Unicode 3.2'],
    ['😀\u2168', '😀\u2168', 'unassigned in Unicode 3.2'],
    ['\ue000\u2168', '\ue000\u2168', 'private use'],
  ];
  for (const [password, prepared, why] of cases) expect([why, prepareSaslPassword(password)]).toEqual([why, prepared]);
});
