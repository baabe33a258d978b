import { describe, expect, test } from 'bun:test';
import { SERVER_CERT, SERVER_CERT_SHA384 } from '../../test/certificates.ts';
import { Fault } from '../base/fault.ts';
import { createCrypto } from '../runtime/crypto.ts';
import {
  type ClientBinding,
  formatScramVerifier,
  mockScramVerifier,
  parseScramVerifier,
  ScramClient,
  ScramRefused,
  ScramServer,
  type ScramVerifier,
  scramVerifierOf,
} from './scram.ts';

const crypto = createCrypto();

/** RFC 7677, section 3. */
const RFC = {
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

function client(options: { password?: string; binding?: ClientBinding } = {}): ScramClient {
  return new ScramClient(crypto, {
    password: options.password ?? 'pencil',
    binding: options.binding ?? { kind: 'none' },
    nonce: Buffer.from(RFC.clientNonce, 'base64'),
    user: 'user',
  });
}

const codeOf = async (action: () => unknown): Promise<string> => {
  try {
    await action();
    return 'no fault';
  } catch (error) {
    if (error instanceof ScramRefused) return error.message;
    return error instanceof Fault ? error.code : String(error);
  }
};

describe('the client', () => {
  test('speaks as in the example of RFC 7677', async () => {
    const exchange = client();
    expect(exchange.first()).toBe(RFC.clientFirst);
    expect(await exchange.respond(RFC.serverFirst)).toBe(RFC.clientFinal);
    expect(() => exchange.verify(RFC.serverFinal)).not.toThrow();
  });

  test('does not believe a server that does not know the password', async () => {
    const finals = [RFC.serverFinal.replace('6', '7'), 'v=', 'v=AAAA', 'e=other-error', '', 'v=%%%%'];
    for (const final of finals) {
      const exchange = client();
      await exchange.respond(RFC.serverFirst);
      expect([final, await codeOf(() => exchange.verify(final))]).toEqual([final, 'server-unproven']);
    }
    expect(await codeOf(() => client().verify(RFC.serverFinal))).toBe('server-unproven');
  });

  test('refuses a challenge that is malformed, replayed or absurdly expensive', async () => {
    const firsts = [
      '',
      'x',
      RFC.serverFirst.replace('r=rOpr', 'r=xOpr'),
      RFC.serverFirst.replace('%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0', ''),
      RFC.serverFirst.replace('i=4096', 'i=0'),
      RFC.serverFirst.replace('i=4096', 'i=-1'),
      RFC.serverFirst.replace('i=4096', 'i=4096.5'),
      RFC.serverFirst.replace('i=4096', 'i=99999999999'),
      RFC.serverFirst.replace('i=4096', ''),
      RFC.serverFirst.replace('s=W22ZaJ0SNY7soEsUEjb6gQ==', 's='),
      RFC.serverFirst.replace('s=W22ZaJ0SNY7soEsUEjb6gQ==', 's=W22'),
      RFC.serverFirst.replace('s=W22ZaJ0SNY7soEsUEjb6gQ==', 's=****'),
      `m=x,${RFC.serverFirst}`,
    ];
    for (const first of firsts) {
      expect([first, await codeOf(() => client().respond(first))]).toEqual([first, 'server-unproven']);
    }
  });
});

describe('both sides', () => {
  const certificateHash = crypto.sha256(Buffer.from('certificate'));

  const run = async (options: {
    password: string;
    verifier: ScramVerifier;
    binding?: ClientBinding;
    plus?: boolean;
    serverHash?: Uint8Array | null;
    tamper?: (text: string) => string;
  }): Promise<string> =>
    await codeOf(async () => {
      const exchange = client({
        password: options.password,
        ...(options.binding === undefined ? {} : { binding: options.binding }),
      });
      const server = new ScramServer(crypto, {
        verifier: options.verifier,
        nonce: Buffer.from('server nonce'),
        certificateHash: options.serverHash ?? null,
        plus: options.plus ?? false,
      });
      const tamper = options.tamper ?? ((text: string): string => text);
      const final = await exchange.respond(server.first(tamper(exchange.first())));
      exchange.verify(server.finish(tamper(final)));
    });

  test('agree on any password, also one that needs preparing', async () => {
    for (const password of ['pencil', 'a b,=', 'p\u00ad\u2168 \u00a0ü\u212b', '\u0007', '😀 emoji', 'x'.repeat(2000)]) {
      const verifier = await scramVerifierOf(crypto, { password, salt: Buffer.from('salt'), iterations: 10 });
      expect([password, await run({ password, verifier })]).toEqual([password, 'no fault']);
      expect(await run({ password: `${password}x`, verifier })).toBe('wrong password');
    }
  });

  test('bind to the channel, and notice when somebody sits between', async () => {
    const verifier = await scramVerifierOf(crypto, { password: 'pencil', salt: Buffer.from('salt'), iterations: 10 });
    const bound: ClientBinding = { kind: 'tls-server-end-point', certificateHash };
    const base = { password: 'pencil', verifier };
    const cases: [string, Parameters<typeof run>[0], string][] = [
      ['both bind', { ...base, binding: bound, plus: true, serverHash: certificateHash }, 'no fault'],
      [
        'another certificate',
        { ...base, binding: bound, plus: true, serverHash: crypto.sha256(Buffer.from('other')) },
        'channel binding does not match',
      ],
      [
        'the offer of PLUS was taken out',
        { ...base, binding: { kind: 'not-offered' }, serverHash: certificateHash },
        'channel binding was downgraded',
      ],
      ['no offer was made', { ...base, binding: { kind: 'not-offered' } }, 'no fault'],
      ['the client cannot bind', { ...base, binding: { kind: 'none' }, serverHash: certificateHash }, 'no fault'],
      [
        'PLUS without binding',
        { ...base, binding: { kind: 'none' }, plus: true, serverHash: certificateHash },
        'SCRAM-SHA-256-PLUS without channel binding tls-server-end-point',
      ],
      ['binding without PLUS', { ...base, binding: bound }, 'channel binding with a mechanism that has none'],
      [
        'the flag was changed on the way',
        { ...base, binding: { kind: 'not-offered' }, tamper: (text) => text.replace(/^y,,/, 'n,,') },
        'channel binding does not match',
      ],
      [
        'the nonce was changed',
        { ...base, tamper: (text) => text.replace(/^(c=.*,r=)./, '$1!') },
        'nonce does not match',
      ],
      ['the proof was cut', { ...base, tamper: (text) => text.replace(/,p=.*/, ',p=AAAA') }, 'malformed proof'],
      ['there is no proof', { ...base, tamper: (text) => text.replace(/,p=.*/, '') }, 'malformed client-final-message'],
    ];
    for (const [name, options, expected] of cases) expect([name, await run(options)]).toEqual([name, expected]);
  });

  test('a made-up verifier fits no password and is the same each time', async () => {
    const secret = Buffer.from('mock secret');
    const mock = mockScramVerifier(crypto, secret, 'mallory');
    expect(mock).toEqual(mockScramVerifier(crypto, secret, 'mallory'));
    expect(mock.salt).not.toEqual(mockScramVerifier(crypto, secret, 'eve').salt);
    expect(mock.salt.length).toBe(16);
    expect(await run({ password: 'pencil', verifier: mock })).toBe('wrong password');
  });
});

test('stored verifiers are read as Postgres writes them', async () => {
  // select rolpassword from pg_authid, password "pencil" with the salt of RFC 7677
  const verifier = await scramVerifierOf(crypto, {
    password: 'pencil',
    salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  });
  const text = formatScramVerifier(verifier);
  expect(text).toBe(
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  );
  expect(parseScramVerifier(text)).toEqual(verifier);
  for (const bad of ['', 'md5abc', 'secret', text.slice(0, -4), text.replace('4096', '0'), text.replace('4096', 'x')]) {
    expect(parseScramVerifier(bad)).toBeNull();
  }
});

test('a certificate is hashed with the hash of its signature', () => {
  const der = (pem: string): Uint8Array => Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  expect(crypto.certificateHash(der(SERVER_CERT)).length).toBe(32);
  expect(crypto.certificateHash(der(SERVER_CERT))).toEqual(crypto.sha256(der(SERVER_CERT)));
  expect(crypto.certificateHash(der(SERVER_CERT_SHA384)).length).toBe(48);
});
