// Who may ask what of a role's HTTP port: the same proofs as on its PostgreSQL port, a password (Basic) or a certificate.
//
//   anybody        only what answers yes or no (`openToAll`)
//   this machine   what shows numbers and no rows (`openOnLoopback`), or all of it by explicit choice (`trustLoopback`)
//   a peer         everything, with a proof; from other machines over TLS only

import type { Crypto } from '../base/crypto.ts';
import type { HttpPeer } from '../base/http.ts';
import type { Log } from '../observe/log.ts';
import { type CertificateRules, certificateProves } from './admission.ts';
import { type ScramVerifier, scramVerifierOf } from './scram.ts';

export interface HttpAccessRules extends CertificateRules {
  readonly verifiers: ReadonlyMap<string, ScramVerifier>;
  readonly trustLoopback: boolean;
  /** `GET /healthz` … */
  readonly openToAll: ReadonlySet<string>;
  readonly openOnLoopback: ReadonlySet<string>;
}

/** Remembered successful log-ins, so that each request does not cost thousands of hashes. */
const PASSWORDS_KNOWN_MAX = 1000;

/** Passwords longer than this are not hashed. */
const AUTHORIZATION_CHARS_MAX = 4096;

export class HttpAccess {
  readonly #crypto: Crypto;
  readonly #log: Log;
  readonly #rules: HttpAccessRules;
  readonly #known = new Set<string>();

  constructor(world: { readonly crypto: Crypto; readonly log: Log }, rules: HttpAccessRules) {
    this.#crypto = world.crypto;
    this.#log = world.log;
    this.#rules = rules;
  }

  /** Null when the peer may have it for certain; else a promise of the answer to give, or of null. `route` is method and path. */
  refusal(route: string, request: Request, peer: HttpPeer): Promise<Response | null> | null {
    const { openToAll, openOnLoopback, trustLoopback } = this.#rules;
    if (peer.isLoopback && (trustLoopback || openOnLoopback.has(route))) return null;
    if (openToAll.has(route) || (peer.tls !== null && this.#hasCertificate(peer))) return null;
    return this.#withoutCertificate(route, request, peer);
  }

  async #withoutCertificate(route: string, request: Request, peer: HttpPeer): Promise<Response | null> {
    if (!peer.isLoopback && peer.tls === null) return refused(403, 'requests from other machines must use https', {});
    const needsCertificate = this.#rules.requireCertificates === true && !peer.isLoopback;
    if (!needsCertificate && (await this.#knowsPassword(request))) return null;
    this.#log.info('http.refused', { remote: peer.address, route: route.slice(0, 200), reason: peer.tls?.reason });
    if (needsCertificate) return refused(403, 'a certificate of a peer is needed', {});
    return refused(401, 'user and password of a peer are needed', { 'www-authenticate': 'Basic realm="skerry"' });
  }

  /** Who asks, by certificate or password; null when he has proved nothing. Decides what he is given, not whether. */
  async identity(request: Request, peer: HttpPeer): Promise<string | null> {
    if (this.#hasCertificate(peer)) return peer.tls?.peerName ?? null;
    const user = userOf(request);
    return user !== null && (await this.#knowsPassword(request)) ? user : null;
  }

  #hasCertificate(peer: HttpPeer): boolean {
    return peer.tls !== null && certificateProves(this.#rules, peer.tls, peer.tls.peerName);
  }

  async #knowsPassword(request: Request): Promise<boolean> {
    const header = request.headers.get('authorization') ?? '';
    if (header.length > AUTHORIZATION_CHARS_MAX) return false;
    const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(header)?.[1];
    if (encoded === undefined) return false;
    const text = Buffer.from(encoded, 'base64').toString();
    const colon = text.indexOf(':');
    const verifier = this.#rules.verifiers.get(text.slice(0, colon));
    if (colon < 0 || verifier === undefined) return false;
    // The hash, not the password, is what stays in memory.
    const key = Buffer.from(this.#crypto.sha256(Buffer.from(text))).toString('hex');
    if (this.#known.has(key)) return true;
    const { salt, iterations } = verifier;
    const proof = await scramVerifierOf(this.#crypto, { password: text.slice(colon + 1), salt, iterations });
    if (!this.#crypto.equal(proof.storedKey, verifier.storedKey)) return false;
    if (this.#known.size < PASSWORDS_KNOWN_MAX) this.#known.add(key);
    return true;
  }
}

function userOf(request: Request): string | null {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  return encoded === undefined ? null : (Buffer.from(encoded, 'base64').toString().split(':')[0] ?? null);
}

function refused(status: number, error: string, headers: Record<string, string>): Response {
  return Response.json({ error }, { status, headers });
}
