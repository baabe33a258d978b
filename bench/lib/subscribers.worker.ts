// A thread full of subscribers, so that receiving for hundreds of them does not slow down the writer that is measured.

import { AckingSubscriber } from './acking-subscriber.ts';
import type { PgTarget } from './pg-connection.ts';
import { until } from './wait.ts';

export interface AttachRequest {
  readonly tag: 'attach';
  readonly target: PgTarget;
  readonly count: number;
  readonly from: string;
  readonly commitsMax: number;
}

/** Asks for the times; answered when every subscriber has had all commits. */
export interface CollectRequest {
  readonly tag: 'collect';
}

export type Answer =
  | { readonly tag: 'attached' }
  /** Per subscriber and commit the time it came, in ms since the Unix epoch with fractions. */
  | { readonly tag: 'times'; readonly times: readonly Float64Array[] }
  | { readonly tag: 'failed'; readonly message: string };

declare const self: Worker;
const subscribers: AckingSubscriber[] = [];

async function handle(request: AttachRequest | CollectRequest): Promise<Answer> {
  if (request.tag === 'attach') {
    const { target, from, commitsMax } = request;
    for (let index = 0; index < request.count; index += 1) {
      subscribers.push(await AckingSubscriber.attach(target, { slot: `bench_${index}`, from, commitsMax }));
    }
    return { tag: 'attached' };
  }
  await until('every subscriber has every transaction', () =>
    subscribers.every((one) => one.commits >= one.receivedAt.length),
  );
  const times = subscribers.map((one) => one.receivedAt.map((at) => at + performance.timeOrigin));
  for (const one of subscribers) await one[Symbol.asyncDispose]();
  return { tag: 'times', times };
}

self.onmessage = (event: MessageEvent<AttachRequest | CollectRequest>) => {
  handle(event.data).then(
    (answer) => self.postMessage(answer),
    (error: unknown) => self.postMessage({ tag: 'failed', message: String(error) } satisfies Answer),
  );
};
