// `skerry certs`: a small certificate authority in a folder, and a certificate per role. Making it again changes nothing
// that is there; `renew` issues new certificates under the same authority.
//
//   ca.crt  ca.key            the authority; ca.key stays where certificates are made
//   NAME.crt  NAME.key        what role NAME serves with, and proves with that it is NAME
//
// Faults (code: what the operator reads in it)
//   certs-name-invalid     a role's name or a host cannot stand in a certificate
//   certs-authority        the authority in the folder is incomplete, damaged or over
//   certs-foreign          a certificate in the folder was signed by another authority, or is somebody else's

import { Fault } from '../base/fault.ts';
import { makeFolder, readTextFile, writePrivate } from '../runtime/files.ts';
import {
  canonicalHost,
  createAuthority,
  isIssuedBy,
  isKeyOf,
  issueCertificate,
  type PemPair,
  readCertificate,
} from '../runtime/x509.ts';

export interface CertsOptions {
  readonly dir: string;
  /** Names and addresses under which the roles are reached. */
  readonly hosts: readonly string[];
  readonly roles: readonly string[];
  /** Issue again what is there. */
  readonly renew: boolean;
  /** Wall clock, milliseconds. */
  readonly nowMs: number;
}

export interface IssuedCertificate {
  readonly name: string;
  readonly cert: string;
  readonly key: string;
  readonly untilMs: number;
  readonly hosts: readonly string[];
  readonly done: 'made' | 'renewed' | 'kept';
  /** What the operator should know: nearly over, or other hosts than asked for. */
  readonly warning: string | null;
}

export interface Certs {
  readonly ca: string;
  readonly caDone: 'made' | 'kept';
  readonly roles: readonly IssuedCertificate[];
}

const DAY_MS = 86_400_000;
/** Long, because every role has to be told when it changes. */
const AUTHORITY_DAYS = 3650;
const ROLE_DAYS = 365;
/** From here on a certificate that is kept is worth a warning. */
const SOON_OVER_DAYS = 30;
/** Clocks of other machines may be behind ours. */
const CLOCK_SKEW_MS = DAY_MS;
const AUTHORITY_NAME = 'Skerry CA';

/** Makes what is missing. Throws the Faults above; files that are there are only touched by `renew`. */
export function makeCerts(options: CertsOptions): Certs {
  const { dir, roles, hosts } = options;
  for (const role of roles) checkRole(role);
  for (const host of hosts) checkHost(host);
  makeFolder(dir, 0o700);
  const { authority, done } = authorityOf(options);
  return {
    ca: `${dir}/ca.crt`,
    caDone: done,
    roles: roles.map((role) => makeRole(options, authority, role)),
  };
}

/** What a role's configuration file has to say about its certificate. */
export function certsConfig(certs: Certs, issued: IssuedCertificate): string {
  const group = ['relay', 'proxy'].find((role) => issued.name.startsWith(role)) ?? 'edge';
  const suffix = group === 'proxy' ? '_file' : '';
  return [
    `${group}:`,
    `  tls_cert${suffix}: ${JSON.stringify(issued.cert)}`,
    `  tls_key${suffix}: ${JSON.stringify(issued.key)}`,
    `  tls_ca${suffix}: ${JSON.stringify(certs.ca)}`,
  ].join('\n');
}

function authorityOf(options: CertsOptions): { authority: PemPair; done: Certs['caDone'] } {
  const [certFile, keyFile] = [`${options.dir}/ca.crt`, `${options.dir}/ca.key`];
  const [cert, key] = [readTextFile(certFile), readTextFile(keyFile)];
  if (cert === null && key === null) {
    const authority = createAuthority(AUTHORITY_NAME, validity(options.nowMs, AUTHORITY_DAYS));
    writePrivate(keyFile, authority.key);
    writePrivate(certFile, authority.cert);
    return { authority, done: 'made' };
  }
  if (cert === null || key === null) {
    throw authorityFault(
      `${cert === null ? certFile : keyFile} is missing`,
      'bring it back from where the authority was made, or make a new one in another folder',
    );
  }
  const facts = read(certFile, cert);
  if (!facts.isAuthority || !isKeyOf(key, cert)) {
    throw authorityFault(`${certFile} and ${keyFile} do not make an authority`, 'make a new one in another folder');
  }
  if (facts.untilMs <= options.nowMs) {
    throw authorityFault(
      `the authority ${certFile} was valid until ${day(facts.untilMs)}`,
      'make a new one in another folder, and give its ca.crt to every role',
    );
  }
  return { authority: { cert, key }, done: 'kept' };
}

function makeRole(options: CertsOptions, authority: PemPair, role: string): IssuedCertificate {
  const { dir, nowMs, hosts } = options;
  const [cert, key] = [`${dir}/${role}.crt`, `${dir}/${role}.key`];
  const [oldCert, oldKey] = [readTextFile(cert), readTextFile(key)];
  const exists = oldCert !== null && oldKey !== null;
  if (exists && !options.renew) {
    const facts = read(cert, oldCert);
    if (!isIssuedBy(oldCert, authority.cert) || facts.commonName !== role || !isKeyOf(oldKey, oldCert)) {
      throw new Fault('certs-foreign', {
        message: `${cert} is not a certificate of ${role} by the authority in ${dir}, or ${key} is not its key`,
        hint: 'issue it again with --renew',
      });
    }
    const { untilMs, hosts: has } = facts;
    return { name: role, cert, key, untilMs, hosts: has, done: 'kept', warning: warningOf(facts, options) };
  }
  // The authority must outlive what it signs, or the role's certificate would seem longer valid than it is.
  const until = Math.min(nowMs + ROLE_DAYS * DAY_MS, readCertificate(authority.cert).untilMs);
  const issued = issueCertificate(authority, {
    commonName: role,
    hosts,
    validity: { fromMs: nowMs - CLOCK_SKEW_MS, untilMs: until },
  });
  // A crash between the two leaves a pair that does not fit, which the next run says.
  writePrivate(key, issued.key);
  writePrivate(cert, issued.cert);
  return {
    name: role,
    cert,
    key,
    hosts,
    untilMs: readCertificate(issued.cert).untilMs,
    done: exists ? 'renewed' : 'made',
    warning: null,
  };
}

function warningOf(
  facts: { readonly untilMs: number; readonly hosts: readonly string[] },
  options: CertsOptions,
): string | null {
  if (facts.untilMs <= options.nowMs) return `its time was over on ${day(facts.untilMs)}; issue it again with --renew`;
  if (facts.untilMs < options.nowMs + SOON_OVER_DAYS * DAY_MS)
    return `it is valid until ${day(facts.untilMs)} only; issue it again with --renew`;
  const has = new Set(facts.hosts);
  const missing = options.hosts.filter((host) => !has.has(canonicalHost(host)));
  return missing.length === 0 ? null : `it is not valid for ${missing.join(', ')}; issue it again with --renew`;
}

function read(file: string, pem: string): ReturnType<typeof readCertificate> {
  try {
    return readCertificate(pem);
  } catch (cause) {
    throw new Fault('certs-foreign', {
      message: `${file} is not a certificate in PEM`,
      hint: 'remove it and run this again',
      cause,
    });
  }
}

function checkRole(role: string): void {
  // It becomes a file's name and a user's name.
  if (/^[A-Za-z0-9][\w.-]{0,62}$/.test(role) && role !== 'ca') return;
  throw new Fault('certs-name-invalid', {
    message: `"${role.slice(0, 80)}" cannot be the name of a role's certificate`,
    hint: 'use letters, digits, dots, dashes and underscores, at most 63; "ca" is taken',
  });
}

function checkHost(host: string): void {
  if (/^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$/.test(host) && URL.canParse(`http://[${host}]`)) return;
  if (/^(\*\.)?[A-Za-z0-9_]([\w.-]{0,251}[A-Za-z0-9_])?$/.test(host)) return;
  throw new Fault('certs-name-invalid', {
    message: `"${host.slice(0, 80)}" is neither a host name nor an address`,
    hint: 'give names and addresses with commas between them: --host relay.example.com,10.0.0.7',
  });
}

function validity(nowMs: number, days: number): { fromMs: number; untilMs: number } {
  return { fromMs: nowMs - CLOCK_SKEW_MS, untilMs: nowMs + days * DAY_MS };
}

function authorityFault(message: string, hint: string): Fault {
  return new Fault('certs-authority', { message, hint });
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
