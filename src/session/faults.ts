// Faults of conversations. For the operator:
//
//   server-error            the server answered with an error that has no name of its own below; see its SQLSTATE
//   password-wrong          28P01: user or password is wrong
//   login-refused           28000: pg_hba.conf or the role does not let us in
//   database-missing        3D000: no such database
//   server-full             53300: too many connections; retryable
//   server-unready          57P03: starting up, shutting down or recovering; retryable
//   server-stopping         57P01, 57P02: the server ended the session; retryable
//   connect-failed          no TCP or unix connection; retryable
//   connect-timeout         connected, but the login did not finish in time; retryable
//   connection-lost         the peer closed in the middle; retryable
//   tls-refused             the server speaks no TLS and sslmode asks for it
//   tls-untrusted           the certificate is not signed by our CA, or is for another name
//   tls-failed              the handshake broke
//   password-missing        the server asks for a password and there is none
//   cleartext-refused       the server asks for the password in the clear; refused unless allowed
//   authentication-unsupported  a method that is not spoken here (GSS, SSPI …)
//   server-unproven         the server did not prove that it knows the password (SCRAM), or tried to downgrade
//   server-too-old          older than the oldest supported major version
//   target-mismatch         connected, but not to the kind of server that target_session_attrs asks for; retryable
//   connection-string-invalid   the URL or key/value string cannot be read
//   result-too-large        a result exceeds what the caller allows
//   session-busy            too many statements wait for this session, or it is in another mode

import { Fault } from '../base/fault.ts';
import type { ErrorFields } from '../wire/backend.ts';

/** An ErrorResponse. */
export class ServerError extends Fault {
  readonly fields: ErrorFields;

  constructor(fields: ErrorFields) {
    const known = KNOWN[fields.sqlstate];
    const hint = fields.hint ?? known?.hint;
    super(known?.code ?? 'server-error', {
      message: fields.message,
      sqlstate: fields.sqlstate,
      retryable: known?.retryable ?? RETRYABLE_CLASS.test(fields.sqlstate),
      ...(fields.detail === undefined ? {} : { detail: fields.detail }),
      ...(hint === undefined ? {} : { hint }),
    });
    this.fields = fields;
  }
}

/** Connection exceptions, serialization failure, deadlock. */
const RETRYABLE_CLASS = /^(08|40001|40P01)/;

interface KnownError {
  readonly code: string;
  readonly retryable: boolean;
  readonly hint?: string;
}

const KNOWN: Readonly<Record<string, KnownError>> = {
  '28P01': { code: 'password-wrong', retryable: false, hint: 'check user name and password' },
  '28000': { code: 'login-refused', retryable: false, hint: "check the role and the server's pg_hba.conf" },
  '3D000': { code: 'database-missing', retryable: false, hint: 'check the database name, or create it' },
  '53300': { code: 'server-full', retryable: true, hint: 'raise max_connections or close idle sessions' },
  '57P03': { code: 'server-unready', retryable: true },
  '57P01': { code: 'server-stopping', retryable: true },
  '57P02': { code: 'server-stopping', retryable: true },
};

export function connectionLost(cause?: unknown): Fault {
  return new Fault('connection-lost', {
    message: 'the server closed the connection unexpectedly',
    sqlstate: '08006',
    retryable: true,
    cause,
  });
}

/** What to tell a PostgreSQL client about any error of ours. */
export function errorFieldsOf(error: unknown, severity: 'ERROR' | 'FATAL' = 'ERROR'): ErrorFields {
  if (error instanceof ServerError) return { ...error.fields, severity };
  if (error instanceof Fault) {
    return {
      severity,
      sqlstate: error.sqlstate,
      message: error.message,
      ...(error.detail === undefined ? {} : { detail: error.detail }),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    };
  }
  // A bug of ours: its text may hold anything, so it goes to the log and not to a client.
  return { severity, sqlstate: 'XX000', message: 'internal error' };
}
