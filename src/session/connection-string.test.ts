import { describe, expect, test } from 'bun:test';
import { inspect } from 'node:util';
import { Fault } from '../base/fault.ts';
import { type ConnectionTarget, describeTarget, parseConnectionString } from './connection-string.ts';

type Shown = Partial<Omit<ConnectionTarget, 'password' | 'hosts'>> & { hosts?: string[]; password?: string | null };

function check(text: string, expected: Shown): void {
  const target = parseConnectionString(text);
  const shown = {
    ...target,
    password: target.password?.reveal() ?? null,
    hosts: target.hosts.map(({ host, port }) => `${host} ${port}`),
  };
  expect([text, shown]).toMatchObject([text, expected]);
}

describe('connection strings', () => {
  test('as URLs', () => {
    check('postgres://', { hosts: ['localhost 5432'], user: 'postgres', database: 'postgres', password: null });
    check('postgresql://me@h', { hosts: ['h 5432'], user: 'me', database: 'me' });
    check('postgres://me:s%40cr%3Aet@h:5433/my%20db', {
      hosts: ['h 5433'],
      user: 'me',
      password: 's@cr:et',
      database: 'my db',
    });
    check('postgres://me:a@b@h/db', { password: 'a@b', hosts: ['h 5432'] });
    check('postgres://me:a:b@h/db', { password: 'a:b' });
    check('postgres://a,b:1,[::1]:2/db', { hosts: ['a 5432', 'b 1', '::1 2'] });
    check('postgres:///db?host=/var/run/postgresql&port=5444', { hosts: ['/var/run/postgresql 5444'], database: 'db' });
    check('postgres://%2Ftmp/db', { hosts: ['/tmp 5432'] });
    check('postgres://h/db?user=u&password=p&dbname=other', { user: 'u', password: 'p', database: 'other' });
    check('POSTGRES://h', { hosts: ['h 5432'] });
  });

  test('as keys and values', () => {
    check("host=h port=1 user='a b' password='it\\'s' dbname=d", {
      hosts: ['h 1'],
      user: 'a b',
      password: "it's",
      database: 'd',
    });
    check("host = a,b port = 1,2 password=x\\ y options='-c a=b'", {
      hosts: ['a 1', 'b 2'],
      password: 'x y',
      parameters: { options: '-c a=b' },
    });
    check('', { hosts: ['localhost 5432'] });
  });

  test('with all settings', () => {
    check(
      'postgres://h/db?sslmode=verify-full&sslrootcert=/ca&sslcert=/c&sslkey=/k&sslnegotiation=direct&channel_binding=require&target_session_attrs=read-write&connect_timeout=3&application_name=x%20y&options=-c%20a%3Db&keepalives=1',
      {
        sslMode: 'verify-full',
        sslRootCert: '/ca',
        sslCert: '/c',
        sslKey: '/k',
        sslNegotiation: 'direct',
        channelBinding: 'require',
        targetSessionAttrs: 'read-write',
        connectTimeoutMs: 3000,
        parameters: { application_name: 'x y', options: '-c a=b' },
      },
    );
    check('postgres://h/db', { sslMode: 'prefer', connectTimeoutMs: 10_000, targetSessionAttrs: 'any' });
    check('postgres://h/db?ssl=true', { sslMode: 'require' });
    check('postgres://h/db?sslrootcert=system', { sslMode: 'verify-full' });
  });

  test('that cannot be read say why, and never repeat a password', () => {
    const cases: [string, string][] = [
      ['mysql://me:hunter2@h', 'expected key=value'],
      ['postgres://me:hunter2@h:x/db', 'invalid host'],
      ['postgres://me:hunter2@h:99999/db', 'invalid port'],
      ['postgres://me:hunter2@h/db?sslmode=maybe', 'sslmode must be one of'],
      ['postgres://me:hunter2@h/db?nonsense=1', 'unknown setting "nonsense"'],
      ['postgres://me:hunter2%ZZ@h/db', 'percent-encoding'],
      ['postgres://me:hunter2@h/db?x', 'without "="'],
      ['postgres://me:hunter2@a,b,c:1,2/db?port=1,2', '2 ports for 4 hosts'],
      ['password=hunter2 host', 'expected key=value'],
      ["password='hunter2 host=x", 'expected key=value'],
      ['password=hunter2 sslnegotiation=direct', 'needs sslmode=require'],
      ['password=hunter2 connect_timeout=soon', 'connect_timeout'],
    ];
    for (const [text, reason] of cases) {
      let message = '';
      try {
        parseConnectionString(text);
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
        message = (error as Fault).message;
      }
      expect([text, message]).toEqual([text, expect.stringContaining(reason)]);
      expect(message).not.toContain('hunter2');
    }
  });

  test('INVARIANT_I11: are described without the password, however they are printed', () => {
    const target = parseConnectionString('postgres://me:hunter2@h:1,i/db');
    expect(describeTarget(target)).toBe('me@h:1,i:5432/db');
    for (const text of [JSON.stringify(target), inspect(target, { depth: 9 }), String(target.password)]) {
      expect(text).not.toContain('hunter2');
    }
  });
});
