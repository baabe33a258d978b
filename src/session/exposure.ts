// Closed by default (I11): what may listen beyond this machine, and where secrets may be sent.
//
//   tls-required              listening, or talking to another role, beyond this machine without TLS
//   authentication-required   listening beyond this machine, and nobody could prove who he is

import { Fault } from '../base/fault.ts';

/** True when only this machine can reach a listener on `host`, or when `host` is this machine. */
export function isLoopbackHost(host: string): boolean {
  if (host.startsWith('/') || host === 'localhost') return true;
  // Only whole addresses: a name may begin with "127." and lead anywhere.
  return /^\[?(::ffff:)?127\.\d+\.\d+\.\d+\]?$/.test(host) || /^\[?::1\]?$/.test(host);
}

export interface Exposure {
  /** Who listens, for the message: `the relay`. */
  readonly who: string;
  readonly host: string;
  readonly hasTls: boolean;
  /** Somebody who is not on this machine can prove who he is: a password or a certificate is accepted. */
  readonly hasAuthentication: boolean;
}

/** Throws the Faults above. */
export function requireSafeListening(exposure: Exposure): void {
  const { who, host, hasTls, hasAuthentication } = exposure;
  if (isLoopbackHost(host)) return;
  if (!hasTls) {
    throw new Fault('tls-required', {
      message: `${who} does not listen on ${host} without TLS`,
      hint: 'give it a certificate and its key (`skerry certs` makes them), or listen on 127.0.0.1',
    });
  }
  if (!hasAuthentication) {
    throw new Fault('authentication-required', {
      message: `${who} does not listen on ${host}: nobody from there could prove who they are`,
      hint: 'name a CA whose certificates it accepts, or a file with passwords; trust is for this machine only',
    });
  }
}

/** Throws Fault `tls-required` when `url` (http or https) leads to another machine unprotected: passwords and rows go over it. */
export function requireSafeHttpUrl(option: string, url: string): void {
  const parsed = URL.parse(url);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new Fault('config-value', {
      message: `${option} is not an http:// or https:// URL`,
      hint: 'write https://relay.example.com:6451',
    });
  }
  if (parsed.protocol === 'https:' || isLoopbackHost(parsed.hostname)) return;
  throw new Fault('tls-required', {
    message: `${option} leads to ${parsed.hostname} without TLS`,
    hint: 'write https://, and set tls_ca to the CA that signed its certificate',
  });
}
