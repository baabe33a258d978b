// Sends back what it gets; `die` throws, `spin` never returns.

import { parentPort } from '../worker.ts';

const parent = parentPort<unknown, unknown>();
parent.onMessage = (message) => {
  if (message === 'die') throw new Error('told to die');
  if (message === 'spin') for (;;);
  parent.post({ echo: message });
};
