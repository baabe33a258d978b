// What every role's process does: log to standard error, say on standard output that it serves, run until told to stop.

import { describeError, Fault } from '../base/fault.ts';
import { type Config } from '../config/options.ts';
import { createLog, type Log } from '../observe/log.ts';
import { createClock } from '../runtime/clock.ts';
import { stopSignals, terminal } from '../runtime/process.ts';

/** A started role. */
export interface Role {
  /** What is told to the parent besides `ready`. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** Resolves or rejects when the role ends by itself. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Runs a role to its end and gives the exit code. `start` gets the signal that ends waiting during the start. `stops`: the signals
 * that end it.
 */
export async function runRole(
  config: Config,
  start: (log: Log, signal: AbortSignal) => Promise<Role>,
  stops?: Parameters<typeof stopSignals>[0],
): Promise<number> {
  const signals = stopSignals(stops);
  const clock = createClock();
  const log = createLog({
    level: config.log.level,
    format: config.log.format,
    wall: () => clock.wall(),
    sink: (line) => terminal.writeError(`${line}\n`),
  });
  try {
    const role = await start(log, signals.stop);
    terminal.write(`${JSON.stringify({ ready: true, ...role.facts })}\n`);
    const stopped = new Promise<void>((resolve) => {
      if (signals.stop.aborted) resolve();
      signals.stop.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([stopped, role.ended]);
    const hurried = new Promise<void>((resolve) =>
      signals.hurry.addEventListener('abort', () => resolve(), { once: true }),
    );
    await Promise.race([role.stop(), hurried]);
    return 0;
  } catch (error) {
    if (signals.stop.aborted) return 0;
    log.error('role.failed', { message: describeError(error) });
    // A fault that waiting does not mend is for the person who started us; anything else is for the supervisor's backoff.
    if (error instanceof Fault && !error.retryable) {
      terminal.write(`${JSON.stringify({ error: { code: error.code, message: error.message, hint: error.hint } })}\n`);
    }
    return 2;
  }
}
