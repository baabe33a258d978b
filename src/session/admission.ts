// Who may log in, and how he has to prove it: the decision a server session asks for before authentication.

import type { Crypto } from '../base/crypto.ts';
import type { TlsFacts } from '../base/net.ts';
import type { Random } from '../base/random.ts';
import type { ErrorFields } from '../wire/backend.ts';
import { parseScramVerifier, SCRAM_SALT_BYTES, type ScramVerifier, scramVerifierOf } from './scram.ts';

/** What is known about a client before it has proved anything. */
export interface LoginRequest {
  readonly user: string;
  readonly database: string;
  /** `database` = logical replication commands and SQL, `physical` = replication commands only. */
  readonly replication: 'off' | 'physical' | 'database';
  readonly remoteAddress: string;
  readonly isLoopback: boolean;
  readonly tls: TlsFacts | null;
}

export type Admission =
  /** No proof asked. Refused by the session unless the peer is on this machine. */
  | { readonly method: 'trust' }
  /** The client's certificate is the proof. Refused by the session unless it is signed by our CA. */
  | { readonly method: 'certificate' }
  /** Null for an unknown user: the exchange takes place all the same, and fails like a wrong password. */
  | { readonly method: 'scram'; readonly verifier: ScramVerifier | null }
  | { readonly method: 'refuse'; readonly error: ErrorFields };

export type Admit = (request: LoginRequest) => Admission | Promise<Admission>;

export interface AdmissionRules {
  /** User name -> what is stored of its password. */
  readonly verifiers: ReadonlyMap<string, ScramVerifier>;
  /** Peers on this machine need no password. Only by explicit choice of the operator (I11). */
  readonly trustLoopback: boolean;
  /** A client certificate of our CA whose common name is the user name is proof enough. */
  readonly acceptCertificates: boolean;
  /** Peers from elsewhere must come over TLS. */
  readonly requireTls: boolean;
}

/** Closed by default: without a rule that lets a peer in, it has to know a password. */
export function admissionBy(rules: AdmissionRules): Admit {
  return (request) => {
    if (request.isLoopback && rules.trustLoopback) return { method: 'trust' };
    if (rules.requireTls && request.tls === null && !request.isLoopback)
      return { method: 'refuse', error: TLS_REQUIRED };
    if (rules.acceptCertificates && request.tls?.authorized === true && request.tls.peerName === request.user) {
      return { method: 'certificate' };
    }
    return { method: 'scram', verifier: rules.verifiers.get(request.user) ?? null };
  };
}

const TLS_REQUIRED: ErrorFields = {
  severity: 'FATAL',
  sqlstate: '28000',
  message: 'connections from other machines must use TLS',
  hint: 'connect with sslmode=require or stronger',
};

/** Verifiers for users whose secrets are given as passwords or as `SCRAM-SHA-256$…` texts. */
export async function verifiersOf(
  world: { readonly crypto: Crypto; readonly random: Random },
  secrets: Iterable<readonly [user: string, secret: string]>,
): Promise<Map<string, ScramVerifier>> {
  const verifiers = new Map<string, ScramVerifier>();
  for (const [user, secret] of secrets) {
    const stored = parseScramVerifier(secret);
    const salt = world.random.bytes(SCRAM_SALT_BYTES);
    verifiers.set(user, stored ?? (await scramVerifierOf(world.crypto, { password: secret, salt })));
  }
  return verifiers;
}
