// Structured log lines: JSON for machines, short text for a terminal. Secrets are never passed in (I11).

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, string | number | boolean | bigint | null | undefined>>;

export interface Log {
  /** `event` is a stable dotted noun (`relay.slot-lost`); the sentence for people goes into `fields.message`. */
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A log that adds these fields to each line. */
  with(fields: LogFields): Log;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: 'json' | 'text';
  readonly wall: () => number;
  /** Takes one line without its newline. */
  readonly sink: (line: string) => void;
}

const SEVERITY: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLog(options: LogOptions, bound: LogFields = {}): Log {
  const write = (level: LogLevel, event: string, fields: LogFields = {}): void => {
    if (SEVERITY[level] < SEVERITY[options.level]) return;
    const all = { ...bound, ...fields };
    const at = new Date(options.wall()).toISOString();
    options.sink(options.format === 'json' ? jsonLine(at, level, event, all) : textLine(at, level, event, all));
  };
  return {
    debug: (event, fields) => write('debug', event, fields),
    info: (event, fields) => write('info', event, fields),
    warn: (event, fields) => write('warn', event, fields),
    error: (event, fields) => write('error', event, fields),
    with: (fields) => createLog(options, { ...bound, ...fields }),
  };
}

/** Drops everything: for tests that are not about logs. */
export const SILENT_LOG: Log = createLog({ level: 'error', format: 'json', wall: () => 0, sink: () => {} });

function jsonLine(at: string, level: LogLevel, event: string, fields: LogFields): string {
  return JSON.stringify({ at, level, event, ...fields }, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

function textLine(at: string, level: LogLevel, event: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => (key === 'message' ? String(value) : `${key}=${String(value)}`))
    .join(' ');
  return `${at} ${level.toUpperCase().padEnd(5)} ${event} ${rest}`.trimEnd();
}
