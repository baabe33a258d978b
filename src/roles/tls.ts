// The certificates of a role: what it serves with, what it proves with, whom it trusts.
//
// Faults (code: what the operator reads in it)
//   tls-file-missing     a certificate or key that the configuration names is not there
//   tls-file-invalid     it is not PEM, its time is over, or key and certificate do not belong together
//   tls-key-exposed      everybody on this machine may read the key
//   and those of session/exposure.ts

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { TlsServerOptions } from '../base/net.ts';
import type { CertificateRules } from '../session/admission.ts';
import { isOpenToOthers, readTextFile } from '../runtime/files.ts';
import { type CertificateFacts, isKeyOf, readCertificate } from '../runtime/x509.ts';
import type { ConnectionTarget, TlsTexts } from '../session/connection-string.ts';
import { isLoopbackHost } from '../session/exposure.ts';
import { connectionTarget } from './connection.ts';
import { withCredentials } from './secrets.ts';

/** The options that relay and edge share. */
export interface TlsConfig {
  readonly tlsCert: string;
  readonly tlsKey: string;
  readonly tlsCa: string;
  readonly clientCertificates: 'accept' | 'require' | 'ignore';
}

export interface RoleTls {
  /** Null: it serves without TLS. */
  readonly server: TlsServerOptions | null;
  /** PEM texts for connections to other roles. */
  readonly client: TlsTexts;
  /** The name in its own certificate: as whom it logs in elsewhere. */
  readonly name: string | null;
  readonly certificates: CertificateRules;
}

/** Reads and checks the files. `group` is `relay` or `edge`, for messages. */
export function readRoleTls(group: string, config: TlsConfig, clock: Clock): RoleTls {
  const { tlsCert, tlsKey, tlsCa, clientCertificates } = config;
  if ((tlsCert === '') !== (tlsKey === '')) {
    throw new Fault('config-missing', {
      message: `${group}.${tlsCert === '' ? 'tls_cert' : 'tls_key'} is not set: certificate and key go together`,
      hint: '`skerry certs` makes both and prints what to write',
    });
  }
  if (clientCertificates === 'require' && (tlsCa === '' || tlsCert === '')) {
    throw new Fault('config-missing', {
      message: `${group}.client_certificates is require, and ${group}.${tlsCa === '' ? 'tls_ca' : 'tls_cert'} is not set`,
      hint: '`skerry certs` makes certificates and prints what to write',
    });
  }
  const ca = tlsCa === '' ? null : readPem(`${group}.tls_ca`, tlsCa, clock);
  const own = tlsCert === '' ? null : readPem(`${group}.tls_cert`, tlsCert, clock);
  const key = own === null ? null : readKey(group, tlsKey, own.pem);
  const asks = ca !== null && clientCertificates !== 'ignore';
  return {
    server: own === null || key === null ? null : { cert: own.pem, key, ...(asks ? { ca: ca.pem } : {}) },
    client: {
      ...(ca === null ? {} : { ca: ca.pem }),
      ...(own === null || key === null ? {} : { cert: own.pem, key }),
    },
    name: own?.facts.commonName ?? null,
    certificates: {
      acceptCertificates: asks && own !== null,
      requireCertificates: clientCertificates === 'require',
    },
  };
}

export interface RelayLogin {
  /** postgres:// URL with user and password. */
  readonly url: string;
  readonly target: ConnectionTarget;
}

/**
 * How to log in at a relay: with the password when there is one, else under the name in the role's certificate. A role that
 * knows its CA verifies the relay unless the URL says otherwise; to another machine it does not go without TLS.
 */
export function relayLogin(
  tls: RoleTls,
  options: {
    /** For messages: `edge.upstream_url`. */
    readonly option: string;
    readonly url: string;
    readonly peerUser: string;
    readonly password: string;
    readonly applicationName: string;
  },
): RelayLogin {
  const user = options.password === '' ? (tls.name ?? options.peerUser) : options.peerUser;
  const verified =
    tls.client.ca === undefined || /[?&](sslmode|ssl)=/.test(options.url)
      ? options.url
      : `${options.url}${options.url.includes('?') ? '&' : '?'}sslmode=verify-full`;
  const url = withCredentials(verified, user, options.password);
  const target = connectionTarget(url, { applicationName: options.applicationName });
  requireTlsElsewhere(options.option, target);
  return { url, target: { ...target, tls: { ...tls.client, ...target.tls } } };
}

function requireTlsElsewhere(option: string, target: ConnectionTarget): void {
  const far = target.hosts.find(({ host }) => !isLoopbackHost(host));
  if (far === undefined || !['disable', 'allow', 'prefer'].includes(target.sslMode)) return;
  throw new Fault('tls-required', {
    message: `${option} leads to ${far.host} and does not insist on TLS`,
    hint: 'set tls_ca, or add sslmode=verify-full&sslrootcert=FILE to the URL',
  });
}

function readPem(
  option: string,
  path: string,
  clock: Clock,
): { readonly pem: string; readonly facts: CertificateFacts } {
  const pem = mustRead(option, path);
  let facts: CertificateFacts;
  try {
    facts = readCertificate(pem);
  } catch (cause) {
    throw new Fault('tls-file-invalid', {
      message: `${option}: ${path} is not a certificate in PEM`,
      hint: '`skerry certs` makes certificates',
      cause,
    });
  }
  if (facts.untilMs <= clock.wall()) {
    throw new Fault('tls-file-invalid', {
      message: `${option}: the certificate ${path} was valid until ${new Date(facts.untilMs).toISOString()}`,
      hint: 'issue it again: `skerry certs --renew`',
    });
  }
  return { pem, facts };
}

function readKey(group: string, path: string, cert: string): string {
  const key = mustRead(`${group}.tls_key`, path);
  if (isOpenToOthers(path)) {
    throw new Fault('tls-key-exposed', {
      message: `${group}.tls_key: everybody on this machine may read ${path}`,
      hint: `chmod 600 ${path}`,
    });
  }
  if (!isKeyOf(key, cert)) {
    throw new Fault('tls-file-invalid', {
      message: `${group}.tls_key: ${path} is not the key of the certificate ${group}.tls_cert`,
      hint: '`skerry certs --renew` makes a new pair',
    });
  }
  return key;
}

function mustRead(option: string, path: string): string {
  const text = readTextFile(path);
  if (text !== null) return text;
  throw new Fault('tls-file-missing', {
    message: `${option}: there is no file ${path}`,
    hint: '`skerry certs` makes certificates',
  });
}
