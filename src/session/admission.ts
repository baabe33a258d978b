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

/** What a client certificate is worth. */
export interface CertificateRules {
  /** A client certificate of our CA whose common name is the user name is proof enough. */
  readonly acceptCertificates: boolean;
  /** Peers from elsewhere need one: a password is not enough. */
  readonly requireCertificates?: boolean;
  /** Only these names; every name of our CA when not given. */
  readonly certificateNames?: ReadonlySet<string>;
}

export interface AdmissionRules extends CertificateRules {
  /** User name -> what is stored of its password. */
  readonly verifiers: ReadonlyMap<string, ScramVerifier>;
  /** Peers on this machine need no password. Only by explicit choice of the operator (I11). */
  readonly trustLoopback: boolean;
  /** Our own connections to ourselves, with a password that never leaves the process: no certificate is asked of them. */
  readonly internalUsers?: ReadonlySet<string>;
  /** Peers from elsewhere must come over TLS. */
  readonly requireTls: boolean;
}

/** Closed by default: without a rule that lets a peer in, it has to know a password. */
export function admissionBy(rules: AdmissionRules): Admit {
  return (request) => {
    if (request.isLoopback && rules.trustLoopback) return { method: 'trust' };
    if (rules.requireTls && request.tls === null && !request.isLoopback)
      return { method: 'refuse', error: TLS_REQUIRED };
    // Nobody else's certificate is ours, whatever its name.
    const isInternal = rules.internalUsers?.has(request.user) === true;
    if (!isInternal && certificateProves(rules, request.tls, request.user)) return { method: 'certificate' };
    const verifier = rules.verifiers.get(request.user) ?? null;
    const problem = certificateProblem(rules, request, verifier !== null);
    if (problem !== null) return { method: 'refuse', error: problem };
    return { method: 'scram', verifier };
  };
}

/** True when the peer's certificate shows that he is `name`. */
export function certificateProves(
  rules: CertificateRules,
  tls: Pick<TlsFacts, 'authorized' | 'peerName'> | null,
  name: string | null,
): boolean {
  if (!rules.acceptCertificates || tls?.authorized !== true || name === null || tls.peerName !== name) return false;
  return rules.certificateNames?.has(name) ?? true;
}

/** Why a password will not do, in words that help; null when it may. */
function certificateProblem(rules: AdmissionRules, request: LoginRequest, hasPassword: boolean): ErrorFields | null {
  const { tls, user } = request;
  if (rules.acceptCertificates && tls !== null && tls.peerCertificate !== null) {
    if (!tls.authorized) {
      return refusal(
        `the client's certificate is not trusted: ${tls.reason ?? 'unknown reason'}`,
        "use a certificate that this server's CA signed and whose time is not over, or none",
      );
    }
    if (!hasPassword && tls.peerName !== user) {
      return refusal(
        `the client's certificate is of "${tls.peerName ?? ''}", not of user "${user}"`,
        'log in under the name that stands in the certificate',
      );
    }
    if (!hasPassword) {
      return refusal(`the name "${user}" is not among those that may log in here`, 'add it to the names allowed here');
    }
  }
  if (rules.requireCertificates !== true || request.isLoopback || rules.internalUsers?.has(user) === true) return null;
  return refusal(
    `user "${user}" needs a certificate to log in from another machine`,
    'connect with sslcert and sslkey; the name in the certificate is the user',
  );
}

function refusal(message: string, hint: string): ErrorFields {
  return { severity: 'FATAL', sqlstate: '28000', message, hint };
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
