// Waiting for conditions, at a grain that suits a measurement.

/** Calls `condition` every `everyMs` until it is true; throws after `timeoutMs`. Gives the time of the call that was true. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  { everyMs = 5, timeoutMs = 300_000 }: { readonly everyMs?: number; readonly timeoutMs?: number } = {},
): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return performance.now();
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs / 1000} s: ${what}`);
    await Bun.sleep(everyMs);
  }
}

/** Milliseconds since `start` of performance.now(). */
export const since = (start: number): number => performance.now() - start;
