// Many subscribers that only acknowledge, in a thread of their own.

import type { PgTarget } from './pg-connection.ts';
import type { Answer, AttachRequest, CollectRequest } from './subscribers.worker.ts';

export interface Subscribers extends Disposable {
  /**
   * Waits until each has had all commits. Per subscriber and commit the time it came, as `wallMs` counts it.
   */
  times(): Promise<readonly Float64Array[]>;
}

/** A clock that threads share: ms since the Unix epoch with the resolution of performance.now(). */
export const wallMs = (): number => performance.timeOrigin + performance.now();

/** Attaches `count` subscribers, each at `from`, each expecting `commitsMax` commits. */
export async function attachSubscribers(
  target: PgTarget,
  options: { readonly count: number; readonly from: string; readonly commitsMax: number },
): Promise<Subscribers> {
  const worker = new Worker(new URL('./subscribers.worker.ts', import.meta.url));
  const ask = (request: AttachRequest | CollectRequest): Promise<Answer> =>
    new Promise((resolve, reject) => {
      worker.onmessage = (event: MessageEvent<Answer>) => {
        if (event.data.tag === 'failed') reject(new Error(event.data.message));
        else resolve(event.data);
      };
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(request);
    });
  await ask({ tag: 'attach', target, ...options });
  return {
    async times() {
      const answer = await ask({ tag: 'collect' });
      if (answer.tag !== 'times') throw new Error(`unexpected answer ${answer.tag}`);
      return answer.times;
    },
    [Symbol.dispose]: () => worker.terminate(),
  };
}
