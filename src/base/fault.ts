// A Fault is an error somebody can act on: it has a code, says whether trying again may help, and what to do.

export interface FaultOptions {
  /** One sentence: what happened. Never contains a secret. */
  readonly message: string;
  /** One sentence: what the reader can do about it; SQL where SQL mends it. */
  readonly hint?: string;
  /** More facts, e.g. Postgres' DETAIL. */
  readonly detail?: string;
  /** SQLSTATE to report to a PostgreSQL client; `XX000` when not given. */
  readonly sqlstate?: string;
  /** True when the same call may succeed later without anybody changing anything. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/** An expected failure. `code` is kebab-case, stable, and documented beside the feature that throws it. */
export class Fault extends Error {
  override readonly name = 'Fault';
  readonly code: string;
  readonly hint: string | undefined;
  readonly detail: string | undefined;
  readonly sqlstate: string;
  readonly retryable: boolean;

  constructor(code: string, options: FaultOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.detail = options.detail;
    this.sqlstate = options.sqlstate ?? 'XX000';
    this.retryable = options.retryable ?? false;
  }
}

/** Whether trying the failed call again may help. Unknown errors are not retried blindly. */
export function isRetryable(error: unknown): boolean {
  return error instanceof Fault && error.retryable;
}

/** One line for a log or a terminal: message, then hint. */
export function describeError(error: unknown): string {
  if (error instanceof Fault) return error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
  return error instanceof Error ? error.message : String(error);
}
